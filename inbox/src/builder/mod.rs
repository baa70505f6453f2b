//! Settings of a consumer, and their checks.

mod broker;
mod check;
mod handlers;
mod limits;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use outbox::Outbox;
use sqlx::PgPool;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_layer::Layer;

use crate::{
    BuildError, Consumer, DeliveryService, QueueKind, TransactionLayer,
    broker::Topology,
    dedup::Window,
    engine::Engine,
    handler::{BoxError, Router},
    policy::Limits,
    transaction::Settings,
};

type AddLayer = Box<dyn FnOnce(DeliveryService) -> DeliveryService + Send>;

/// Settings of a [`Consumer`].
///
/// Nothing is checked before [`ConsumerBuilder::build`]. Only [`database`](Self::database),
/// [`amqp_url`](Self::amqp_url) and one handler ([`on`](Self::on)) have no default.
pub struct ConsumerBuilder {
    name: String,
    pool: Option<PgPool>,
    amqp_url: Option<String>,
    /// Its queue has the consumer's name unless told otherwise.
    topology: Topology,
    prefetch: Option<u16>,
    workers: usize,
    messages_per_transaction: Option<usize>,
    parked_workers: usize,
    router: Router,
    handled_twice: Option<&'static str>,
    layers: Vec<AddLayer>,
    outbox: Outbox,
    prepared_statements: bool,
    limits: Limits,
    handler_timeout: Duration,
    grace: Duration,
    window: Duration,
    skew: Duration,
}

impl ConsumerBuilder {
    pub(crate) fn new(name: String) -> Self {
        let topology = Topology {
            exchange: "postroom".to_owned(),
            declare_exchange: true,
            queue: name.clone(),
            kind: QueueKind::default(),
            single_active_consumer: true,
            limit_by_policy: false,
            arguments: BTreeMap::new(),
            bindings: BTreeSet::new(),
        };
        Self {
            name,
            pool: None,
            amqp_url: None,
            topology,
            prefetch: None,
            workers: 8,
            messages_per_transaction: None,
            parked_workers: 1,
            router: Router::new(),
            handled_twice: None,
            layers: Vec::new(),
            outbox: Outbox::new(),
            prepared_statements: true,
            limits: Limits::default(),
            handler_timeout: Settings::DEFAULT_TIMEOUT,
            grace: Duration::from_secs(20),
            window: Settings::DEFAULT_WINDOW,
            skew: Settings::DEFAULT_SKEW,
        }
    }

    /// Sets the pool of the database in which messages are recorded and handlers work. Required.
    ///
    /// It needs a connection for each worker and each parked worker, and one more. The inbox begins
    /// every transaction on it; `test_before_acquire(false)` spares a round trip for each message that
    /// comes alone, and a connection that turns out to be dead costs one rerun.
    ///
    /// The request that commits a transaction begins another one. While messages wait or come
    /// steadily, and the pool has connections to spare, that is kept for the next message, for 10 ms
    /// at most; one in a hundred is not, so that the pool's hooks and its `max_lifetime` see the
    /// connection: what a handler leaves in a session, settings or advisory locks, the next one finds. A role
    /// that it leaves (`SET ROLE` without `LOCAL`) and that may not do the inbox's work costs the session.
    /// And `now()` in a handler can be up to 10 ms before the delivery, and before that of the message
    /// before it: `clock_timestamp()` is what to order by.
    #[must_use]
    pub fn database(mut self, pool: PgPool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Sets whether statements are prepared: named at the server, and parsed once for a connection.
    /// Defaults to true. Set it to false for a pool that leads to a pooler in transaction mode
    /// which does not support that, as PgBouncer before 1.21.
    ///
    /// It concerns every statement of the inbox and of [`Context::publish`](crate::Context::publish),
    /// and makes each a round trip longer. A handler's own statements need `persistent(false)`, and
    /// the pooler needs `ignore_startup_parameters = extra_float_digits`, which sqlx sends.
    #[must_use]
    pub fn prepared_statements(mut self, prepared: bool) -> Self {
        self.prepared_statements = prepared;
        self
    }

    /// Checks the settings and makes the consumer. Connects to nothing.
    ///
    /// # Errors
    /// Returns the first setting that is missing or makes no sense.
    pub fn build(self) -> Result<Consumer, BuildError> {
        self.check_names()?;
        self.check_handlers()?;
        self.check_counts()?;
        self.check_window()?;
        self.check_queue_arguments()?;
        let messages_per_transaction = self.group_size();
        let prefetch = self
            .prefetch
            .unwrap_or_else(|| enough(self.workers, messages_per_transaction));
        let address = self.address()?;
        let pool = self.pool()?;
        let mut settings = Settings {
            window: Window::new(self.window, self.skew),
            handler_timeout: self.handler_timeout,
            outbox: self.outbox,
            ..Settings::new(pool, &self.name)
        };
        settings.prepare_statements(self.prepared_statements);
        let transaction = TransactionLayer::with_settings(settings.clone());
        let inner = transaction.layer(self.router.clone());
        let inner = BoxCloneSyncService::new(inner.map_err(BoxError::from));
        let service = self.layers.into_iter().fold(inner, |inner, add| add(inner));
        Ok(Consumer {
            engine: Arc::new(Engine {
                settings,
                limits: self.limits,
                router: self.router,
                service,
                attempt_timeout: attempt_timeout(self.handler_timeout, messages_per_transaction),
                connections_lost: AtomicU64::new(0),
            }),
            address,
            topology: self.topology,
            prefetch,
            workers: self.workers,
            messages_per_transaction,
            parked_workers: self.parked_workers,
            grace: self.grace,
        })
    }
}

/// Longest time that an attempt can take without a layer's doing: for a connection, for another process that
/// handles a copy, for the handlers of all that share the transaction, and for the commit.
fn attempt_timeout(handler_timeout: Duration, messages_per_transaction: usize) -> Duration {
    let handlers = u32::try_from(messages_per_transaction).unwrap_or(u32::MAX);
    let handling = handler_timeout.saturating_mul(handlers.saturating_add(1));
    handling.saturating_add(Duration::from_mins(2))
}

/// Deliveries that keep all workers busy: as many wait as are being handled, and more where that
/// costs nothing.
fn enough(workers: usize, messages_per_transaction: usize) -> u16 {
    let busy = workers
        .saturating_mul(messages_per_transaction)
        .saturating_mul(2);
    busy.clamp(64, 2_000) as u16
}

impl fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL, which may hold a password.
        f.debug_struct("ConsumerBuilder")
            .field("name", &self.name)
            .field("topology", &self.topology)
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}
