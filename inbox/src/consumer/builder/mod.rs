//! The builder of a consumer: its settings, their defaults and their checks.

mod broker;
mod check;
mod commands;
mod handlers;
mod idempotency;
mod limits;
mod partitions;
mod state;
mod trust;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use amqp::Tls;
use outbox::Outbox;
use sqlx::PgPool;
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::Tasks;
use crate::{
    BuildError, Consumer, DeliveryService, HandlerFailure, HandlerService, QueueKind,
    TransactionLayer,
    decision::{Limits, Trust},
    dedup::Window,
    delivery_span::DeliverySpans,
    engine::{self, Engine, UntrustedLimit},
    handler::{BoxError, Fates, HandlerError, KeptReplies, Keys, Router},
    intake::{RabbitMq, Topology},
    status::Tracker,
    transaction::Settings,
};

type AddLayer = Box<dyn FnOnce(HandlerService) -> HandlerService + Send>;

type AddAdmissionLayer = Box<dyn FnOnce(DeliveryService) -> DeliveryService + Send>;

/// Builder of a [`Consumer`].
///
/// The settings are checked by [`ConsumerBuilder::build`]. Only [`database`](Self::database),
/// [`amqp_url`](Self::amqp_url) and one handler ([`on`](Self::on)) are required. `S` is the type of the state that
/// handlers share ([`with_state`](Self::with_state)).
#[must_use = "a builder handles no messages: `build()` makes the consumer, and the consumer's `run` handles them"]
pub struct ConsumerBuilder<S = ()> {
    name: String,
    pool: Option<PgPool>,
    amqp_url: Option<String>,
    tls: Tls,
    allow_plaintext: bool,
    /// Exchange, queue and bindings. The queue has the consumer's name by default.
    topology: Topology,
    /// `None` for a default that depends on the workers.
    prefetch: Option<u16>,
    workers: usize,
    /// `None` for a default that depends on the handlers.
    messages_per_transaction: Option<usize>,
    parked_workers: usize,
    /// Number of queues; `None` for one without partitions.
    partitions: Option<u8>,
    router: Router,
    /// The functions of idempotency keys, which the handlers in `router` share.
    keys: Keys,
    /// A type with two handlers, or two steps, for one version; an error of `build`.
    duplicate_type: Option<&'static str>,
    /// `true` if a second fallback replaced the first; an error of `build`.
    has_two_fallbacks: bool,
    layers: Vec<AddLayer>,
    admission_layers: Vec<AddAdmissionLayer>,
    fates: Fates,
    outbox: Outbox,
    prepared_statements: bool,
    limits: Limits,
    trust: Trust,
    untrusted_kept: u32,
    handler_timeout: Duration,
    grace: Duration,
    window: Duration,
    skew: Duration,
    spans: DeliverySpans,
    /// Time for which replies are kept; `None` if they are not kept.
    keep_replies: Option<Duration>,
    state: S,
}

impl ConsumerBuilder {
    pub(crate) fn new(name: String) -> Self {
        let topology = Topology {
            exchange: "postroom".to_owned(),
            declare_exchange: false,
            queue: name.clone(),
            kind: QueueKind::default(),
            single_active_consumer: true,
            limit_by_policy: false,
            arguments: BTreeMap::new(),
            own_exchange: None,
            bindings: BTreeSet::new(),
        };
        Self {
            name,
            pool: None,
            amqp_url: None,
            tls: Tls::new(),
            allow_plaintext: false,
            topology,
            prefetch: None,
            workers: 8,
            messages_per_transaction: None,
            parked_workers: 1,
            partitions: None,
            router: Router::new(),
            keys: Keys::default(),
            duplicate_type: None,
            has_two_fallbacks: false,
            layers: Vec::new(),
            admission_layers: Vec::new(),
            fates: Fates::default(),
            outbox: Outbox::new(),
            prepared_statements: true,
            limits: Limits::default(),
            trust: Trust::default(),
            untrusted_kept: UntrustedLimit::DEFAULT,
            handler_timeout: Settings::DEFAULT_TIMEOUT,
            grace: Duration::from_secs(20),
            window: Settings::DEFAULT_WINDOW,
            skew: Settings::DEFAULT_SKEW,
            spans: DeliverySpans::default(),
            keep_replies: None,
            state: (),
        }
    }
}

impl<S> ConsumerBuilder<S> {
    /// Sets the pool of the database in which messages are recorded and handlers work. Required.
    ///
    /// The pool needs a connection for each worker and each parked worker, and one more. The inbox begins
    /// every transaction on this pool. With `test_before_acquire(false)` a message that arrives alone costs
    /// one round trip less, and a dead connection costs one rerun.
    ///
    /// The request that commits a transaction begins the next one on the same connection. A worker keeps the
    /// connection for its next message, for at most 10 ms and 100 messages, while the pool has spare
    /// connections; so the pool can run its hooks and enforce `max_lifetime`. Consequences for handlers:
    ///
    /// - Session state that a handler leaves behind, such as settings and advisory locks, is visible to the
    ///   next handler on the connection. If a handler leaves a role (`SET ROLE` without `LOCAL`) that lacks
    ///   the inbox's rights, the inbox ends the session.
    /// - `now()` can be up to 10 ms before the delivery, and earlier than `now()` of the preceding message.
    ///   Order rows by `clock_timestamp()` instead.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Missing`] without a pool, and [`BuildError::Pool`] for a pool with too
    /// few connections.
    pub fn database(mut self, pool: PgPool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Sets whether statements are prepared, so that the server parses each once per connection. Defaults to
    /// `true`. Set `false` if the connections go through a pooler in transaction mode that does not support
    /// prepared statements, such as PgBouncer before 1.21.
    ///
    /// `false` concerns every statement of the inbox and of [`Context::publish`](crate::Context::publish),
    /// and costs each a further round trip. A handler must mark its own statements with
    /// `persistent(false)`, and the pooler needs `ignore_startup_parameters = extra_float_digits`, a
    /// parameter that sqlx sends.
    pub fn prepared_statements(mut self, prepared: bool) -> Self {
        self.prepared_statements = prepared;
        self
    }

    /// Checks the settings and creates the consumer. Opens no connection.
    ///
    /// # Errors
    /// Returns an error for the first setting that is missing or invalid.
    pub fn build(mut self) -> Result<Consumer, BuildError> {
        self.check_names()?;
        self.check_handlers()?;
        self.check_versions()?;
        self.check_keys()?;
        self.check_layers()?;
        self.check_counts()?;
        self.check_window()?;
        self.check_trust()?;
        self.check_queue_arguments()?;
        let layout = self.layout()?;
        let messages_per_transaction = self.group_size();
        let prefetch = self
            .prefetch
            .unwrap_or_else(|| default_prefetch(self.workers, messages_per_transaction));
        let address = self.address()?;
        let pool = self.pool()?;
        let mut settings = Settings {
            window: Window::new(self.window, self.skew),
            handler_timeout: self.handler_timeout,
            outbox: self.outbox,
            fates: self.fates,
            has_keys: self.keys.is_used(),
            ..Settings::new(pool, &self.name)
        };
        settings.prepare_statements(self.prepared_statements);
        let consumer = Arc::clone(&settings.consumer);
        if self.keep_replies.is_some() {
            let replies = KeptReplies::new(Arc::clone(&consumer), settings.statements);
            self.router.keep_replies(replies);
        }
        let tracker = Tracker::new(Arc::clone(&consumer));
        let reports = (consumer, Arc::clone(&tracker));
        let queue = RabbitMq::new(address, reports, self.topology, prefetch);
        let fates = settings.fates.clone();
        let failure = move |error: HandlerError| HandlerFailure::new(error, &fates);
        let handlers = self.router.clone().map_err(failure);
        let handlers = BoxCloneSyncService::new(handlers.map_err(BoxError::from));
        let handlers = self
            .layers
            .into_iter()
            .fold(handlers, |inner, add| add(inner));
        let admission = (!self.admission_layers.is_empty()).then(|| {
            let transaction = TransactionLayer::with_settings(settings.clone());
            let innermost = engine::innermost(&transaction, handlers.clone());
            let layers = self.admission_layers.into_iter();
            layers.fold(innermost, |inner, add| add(inner))
        });
        let engine = Engine {
            settings,
            limits: self.limits,
            trust: self.trust,
            untrusted: UntrustedLimit::new(self.untrusted_kept),
            router: self.router,
            handlers,
            admission,
            attempt_timeout: attempt_timeout(self.handler_timeout, messages_per_transaction),
            keep_replies: self.keep_replies,
            spans: self.spans,
            tracker,
            connections_lost: AtomicU64::new(0),
        };
        Ok(Consumer {
            tasks: Tasks {
                engine: Arc::new(engine),
                workers: self.workers,
                messages_per_transaction,
                parked_workers: self.parked_workers,
                grace: self.grace,
            },
            queue,
            layout,
        })
    }
}

/// Returns the longest time that an attempt can take if no layer delays it: waiting for a connection and for
/// another process that handles a copy, the handlers of all messages in the transaction, and the commit.
fn attempt_timeout(handler_timeout: Duration, messages_per_transaction: usize) -> Duration {
    let handlers = u32::try_from(messages_per_transaction).unwrap_or(u32::MAX);
    let handling = handler_timeout.saturating_mul(handlers.saturating_add(1));
    handling.saturating_add(Duration::from_mins(2))
}

/// Returns the default prefetch: as many deliveries wait as are being handled, and at least 64 in all, since
/// few deliveries cost nothing.
fn default_prefetch(workers: usize, messages_per_transaction: usize) -> u16 {
    let busy = workers
        .saturating_mul(messages_per_transaction)
        .saturating_mul(2);
    busy.clamp(64, 2_000) as u16
}

impl<S> fmt::Debug for ConsumerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the URL, which may hold a password.
        f.debug_struct("ConsumerBuilder")
            .field("name", &self.name)
            .field("topology", &self.topology)
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}
