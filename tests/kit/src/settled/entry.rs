//! The databases and consumers that callers name.

use relay_core::publish::TopicPatterns;
use sqlx::PgPool;

use super::inbox::Inbox;

/// A database: a pool, or a URL.
#[derive(Debug)]
pub struct Target(pub(super) PgPool);

impl From<&PgPool> for Target {
    fn from(pool: &PgPool) -> Self {
        Self(pool.clone())
    }
}

impl From<PgPool> for Target {
    fn from(pool: PgPool) -> Self {
        Self(pool)
    }
}

impl From<&str> for Target {
    fn from(url: &str) -> Self {
        Self(PgPool::connect_lazy(url).expect("a PostgreSQL URL"))
    }
}

impl From<String> for Target {
    fn from(url: String) -> Self {
        url.as_str().into()
    }
}

/// A consumer: its name, its database, and the topics that it takes.
#[derive(Debug)]
pub struct Consumer(pub(super) Inbox);

impl Consumer {
    /// Names a consumer, the database of its inbox, and the topics to which its queue is bound, with `*` and `#` as in
    /// bindings.
    pub fn new<T: Into<String>>(
        name: &str,
        database: impl Into<Target>,
        topics: impl IntoIterator<Item = T>,
    ) -> Self {
        // Commands to the consumer, too.
        let own = outbox::recipient::exchange(name);
        let topics = topics.into_iter().map(Into::into).chain([own]).collect();
        Self(Inbox {
            name: name.to_owned(),
            pool: database.into().0,
            topics: TopicPatterns::new(topics),
            may_be_dead: false,
        })
    }

    /// Counts dead deliveries as settled. By default they have not settled, since only an operator can end them.
    #[must_use]
    pub fn allow_dead(mut self) -> Self {
        self.0.may_be_dead = true;
        self
    }
}
