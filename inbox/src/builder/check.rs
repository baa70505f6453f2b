//! What settings must hold.

use outbox::HeaderValue;
use sqlx::PgPool;

use crate::{
    BuildError, ConsumerBuilder,
    broker::{Address, DELIVERY_LIMIT},
    dedup::{MAX_SKEW, MAX_WINDOW},
};

/// Longest name that an AMQP short string and the tables carry, in bytes.
const NAME_BYTES: usize = 255;

/// Connections beside those of the workers: the janitor's.
const SPARE_CONNECTIONS: usize = 1;

impl ConsumerBuilder {
    pub(super) fn check_names(&self) -> Result<(), BuildError> {
        let topology = &self.topology;
        let names = [
            ("consumer", &self.name),
            ("queue", &topology.queue),
            ("exchange", &topology.exchange),
        ];
        let bindings = topology.bindings.iter().map(|name| ("binding", name));
        let arguments = topology.arguments.keys();
        let arguments = arguments.map(|name| ("queue argument", name));
        for (what, name) in names.into_iter().chain(bindings).chain(arguments) {
            if name.is_empty() || name.len() > NAME_BYTES {
                return Err(BuildError::Name {
                    consumer: self.name.clone(),
                    what,
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn check_handlers(&self) -> Result<(), BuildError> {
        if let Some(type_name) = self.handled_twice {
            return Err(BuildError::TwoHandlers {
                consumer: self.name.clone(),
                type_name,
            });
        }
        if self.router.is_empty() {
            return Err(BuildError::NoHandler(self.name.clone()));
        }
        Ok(())
    }

    pub(super) fn check_counts(&self) -> Result<(), BuildError> {
        let counts = [
            ("prefetch", self.prefetch.map_or(1, u64::from)),
            ("messages_per_transaction", self.together() as u64),
            ("workers", self.workers as u64),
            ("parked_workers", self.parked_workers as u64),
            ("attempts_in_place", self.limits.attempts_in_place.into()),
            ("max_attempts", self.limits.max_attempts.into()),
            ("max_crashes", self.limits.max_crashes),
        ];
        for (setting, count) in counts {
            if count == 0 {
                return Err(BuildError::Zero {
                    consumer: self.name.clone(),
                    setting,
                });
            }
        }
        Ok(())
    }

    pub(super) fn check_window(&self) -> Result<(), BuildError> {
        if self.window > MAX_WINDOW || self.skew > MAX_SKEW {
            return Err(BuildError::Window {
                consumer: self.name.clone(),
                window: self.window,
                skew: self.skew,
            });
        }
        Ok(())
    }

    pub(super) fn check_delivery_limit(&self) -> Result<(), BuildError> {
        let dead_letters = self
            .topology
            .arguments
            .contains_key("x-dead-letter-exchange");
        match self.topology.arguments.get(DELIVERY_LIMIT) {
            Some(HeaderValue::Int(limit)) if *limit >= 0 && !dead_letters => {
                Err(BuildError::DropsMessages {
                    consumer: self.name.clone(),
                    limit: *limit,
                })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn address(&self) -> Result<Address, BuildError> {
        let url = self.amqp_url.as_ref();
        let url = url.ok_or_else(|| self.missing("amqp_url"))?;
        url.parse().map_err(|problem| BuildError::Url {
            consumer: self.name.clone(),
            problem,
        })
    }

    pub(super) fn pool(&self) -> Result<PgPool, BuildError> {
        let pool = self.pool.as_ref();
        let pool = pool.ok_or_else(|| self.missing("database"))?;
        let connections = pool.options().get_max_connections();
        let workers = self.workers.saturating_add(self.parked_workers);
        let needed = workers.saturating_add(SPARE_CONNECTIONS);
        if (connections as usize) < needed {
            return Err(BuildError::Pool {
                consumer: self.name.clone(),
                connections,
                workers,
                needed,
            });
        }
        Ok(pool.clone())
    }

    fn missing(&self, setting: &'static str) -> BuildError {
        BuildError::Missing {
            consumer: self.name.clone(),
            setting,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use sqlx::postgres::PgPoolOptions;

    use crate::{BuildError, Consumer, ConsumerBuilder, Context, HandlerError};

    #[derive(Serialize, Deserialize)]
    struct Ping;

    impl outbox::Event for Ping {
        const TOPIC: &'static str = "ping";

        fn key(&self) -> Option<String> {
            None
        }
    }

    async fn pong(_: Context, _: Ping) -> Result<(), HandlerError> {
        Ok(())
    }

    fn builder(connections: u32) -> ConsumerBuilder {
        let pool = PgPoolOptions::new().max_connections(connections);
        Consumer::builder("pings")
            .database(
                pool.connect_lazy("postgres://nobody@localhost/none")
                    .unwrap(),
            )
            .amqp_url("amqp://guest:secret@localhost/%2f")
            .on::<Ping, _, _>(pong)
    }

    fn error(builder: ConsumerBuilder) -> BuildError {
        builder.build().unwrap_err()
    }

    #[tokio::test]
    async fn settings_that_fit_build() {
        let consumer = builder(10).build().unwrap();
        assert_eq!(consumer.topology.queue, "pings");
        assert!(consumer.topology.bindings.contains("ping"));
    }

    #[tokio::test]
    async fn settings_that_cannot_work_are_named() {
        use BuildError::{
            DropsMessages, Missing, Name, NoHandler, Pool, TwoHandlers, Url, Window, Zero,
        };
        let hours = std::time::Duration::from_hours;
        assert!(matches!(error(builder(9)), Pool { needed: 10, .. }));
        assert!(matches!(error(builder(10).workers(0)), Zero { .. }));
        assert!(matches!(error(builder(10).queue("")), Name { .. }));
        assert!(matches!(
            error(builder(10).on::<Ping, _, _>(pong)),
            TwoHandlers {
                type_name: "ping",
                ..
            }
        ));
        assert!(matches!(
            error(builder(10).dedup_window(hours(59 * 24))),
            Window { .. }
        ));
        let limited = || builder(10).queue_argument("x-delivery-limit", 5);
        assert!(matches!(error(limited()), DropsMessages { limit: 5, .. }));
        let dead_letters = limited().queue_argument("x-dead-letter-exchange", "dead");
        assert!(dead_letters.build().is_ok());
        assert!(matches!(error(Consumer::builder("pings")), NoHandler(_)));
        let bare = Consumer::builder("pings").on::<Ping, _, _>(pong);
        assert!(matches!(
            error(bare),
            Missing {
                setting: "amqp_url",
                ..
            }
        ));
        let url = builder(10).amqp_url("http://guest:secret@localhost");
        let url = error(url);
        assert!(matches!(url, Url { .. }));
        assert!(!url.to_string().contains("secret"));
    }
}
