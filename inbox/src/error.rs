//! The errors of building and of running a consumer.

use std::time::Duration;

use amqp::TlsError;
use outbox::schema::SchemaError;

use crate::{
    dedup::{MAX_SKEW, MAX_WINDOW},
    intake::BrokerError,
};

/// Error of [`ConsumerBuilder::build`](crate::ConsumerBuilder::build): a setting is missing or invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of partitions is not 1 to 64.
    #[error(
        "building consumer {consumer:?}: {partitions} partitions are not possible; use 1 to 64, or leave `partitions` out for one queue"
    )]
    Partitions {
        /// Name of the consumer.
        consumer: String,
        /// The number.
        partitions: u8,
    },

    /// Partitions need one active consumer for each queue.
    #[error(
        "building consumer {consumer:?}: without a single active consumer for each queue, `partitions` could not keep the order of keys; leave `single_active_consumer(false)` out, or `partitions`"
    )]
    PartitionsShared {
        /// Name of the consumer.
        consumer: String,
    },

    /// The queue's name leaves no room for the names of partitions.
    #[error(
        "building consumer {consumer:?}: with partitions, names at the broker are up to {} bytes longer than the queue's {queue:?}, and would exceed 255 bytes; name a shorter `queue`",
        longest.len() - queue.len()
    )]
    PartitionName {
        /// Name of the consumer.
        consumer: String,
        /// Name of the queue.
        queue: String,
        /// The longest name.
        longest: String,
    },

    /// A required setting is missing.
    #[error("building consumer {consumer:?}: `{setting}` is not set")]
    Missing {
        /// Name of the consumer.
        consumer: String,
        /// Name of the setting.
        setting: &'static str,
    },

    /// A name is empty, longer than 255 bytes, or contains a zero byte.
    #[error(
        "building consumer {consumer:?}: {what} {name:?} has {} bytes; use 1 to 255, none of them zero",
        name.len()
    )]
    Name {
        /// Name of the consumer.
        consumer: String,
        /// Kind of the named thing: `consumer`, `queue`, `exchange`, `binding` or `queue argument`.
        what: &'static str,
        /// The name.
        name: String,
    },

    /// The broker's URL cannot be read. The error does not contain the URL, which may hold a password.
    #[error(
        "building consumer {consumer:?}: the AMQP URL cannot be read ({problem}); write amqp://user:password@host:5672/vhost, with / in the virtual host as %2f"
    )]
    Url {
        /// Name of the consumer.
        consumer: String,
        /// Description of the problem.
        problem: String,
    },

    /// The URL sends everything in clear to another machine.
    #[error(
        "building consumer {consumer:?}: amqp:// sends the password and all messages in clear to {host}, another machine; write amqps://, or set `allow_plaintext(true)` if nobody can listen or answer in between"
    )]
    Plaintext {
        /// Name of the consumer.
        consumer: String,
        /// Host of the URL.
        host: String,
    },

    /// The settings of TLS or their files cannot be used.
    #[error("building consumer {consumer:?}: `tls`: {source}")]
    Tls {
        /// Name of the consumer.
        consumer: String,
        /// The problem.
        source: TlsError,
    },

    /// No handler was added to the consumer with this name.
    #[error("building consumer {0:?}: it has no handler; add one with `on`, or with `fallback`")]
    NoHandler(String),

    /// Two handlers take whatever no other handler takes.
    #[error("building consumer {0:?}: it has two fallbacks; keep one `fallback`")]
    TwoFallbacks(String),

    /// Two handlers, or two steps of `upcast`, take the same version of a type.
    #[error(
        "building consumer {consumer:?}: two handlers, or two `upcast` steps, take the same version of the type {type_name:?}; give one of the events another `VERSION` or `TYPE`, or make two consumers"
    )]
    TwoHandlers {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
    },

    /// No body can pass a step of `upcast`.
    #[error(
        "building consumer {consumer:?}: no body of type {type_name:?} passes the `upcast` step from version {from}, since a handler takes version {from} or none takes a later one; remove the step, or raise the event's `VERSION`"
    )]
    UselessUpcast {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
        /// The version that the step takes.
        from: u32,
    },

    /// A version between the first step of `upcast` and the newest handler has neither a step nor a handler.
    #[error(
        "building consumer {consumer:?}: bodies of type {type_name:?} cannot get beyond version {from}; add the `upcast` step from version {from}, or a handler with `on_version`"
    )]
    MissingUpcast {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
        /// The version without a step.
        from: u32,
    },

    /// A type has two functions of `idempotency_key`.
    #[error(
        "building consumer {consumer:?}: `idempotency_key` is set twice for the type {type_name:?}; make one key of both, as text"
    )]
    TwoIdempotencyKeys {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
    },

    /// No handler takes the event of a function of `idempotency_key`.
    #[error(
        "building consumer {consumer:?}: `idempotency_key` is set for an event of type {type_name:?} that no handler takes; add a handler of the same struct, or remove the key"
    )]
    UselessIdempotencyKey {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
    },

    /// One version of a type has a function of `idempotency_key`, and a handler takes another version in a struct that has
    /// none.
    #[error(
        "building consumer {consumer:?}: `idempotency_key` is set for one struct of the type {type_name:?}, and a handler takes another one; set it for both, returning the same texts, or `upcast` the older version"
    )]
    MissingIdempotencyKey {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
    },

    /// A layer wraps the call for one message, and a batch handler takes many in one call.
    #[error(
        "building consumer {consumer:?}: a layer wraps the call for one message, and an `on_many` handler takes many in one call; do the layer's work in that handler, or make two consumers"
    )]
    LayerOfMany {
        /// Name of the consumer.
        consumer: String,
    },

    /// An admission layer admits one message, and messages that share a transaction are not admitted one by one.
    #[error(
        "building consumer {consumer:?}: an admission layer admits one message at a time, and messages share transactions; set `messages_per_transaction` to 1, or limit the work with `workers`"
    )]
    AdmissionOfMany {
        /// Name of the consumer.
        consumer: String,
    },

    /// A setting is 0 and must be at least 1.
    #[error("building consumer {consumer:?}: `{setting}` is 0; use at least 1")]
    Zero {
        /// Name of the consumer.
        consumer: String,
        /// Name of the setting.
        setting: &'static str,
    },

    /// The pool has too few connections for the workers.
    #[error(
        "building consumer {consumer:?}: its pool has at most {connections} connections, {workers} workers (those for parked messages included) need {needed}; set `max_connections` of the pool to {needed}, or `workers` to fewer"
    )]
    Pool {
        /// Name of the consumer.
        consumer: String,
        /// Connections of the pool.
        connections: u32,
        /// Workers of the consumer, those for parked messages included.
        workers: usize,
        /// Connections that the workers and the janitor need.
        needed: usize,
    },

    /// The dedup window or the skew is longer than the ring of id tables can hold.
    #[error(
        "building consumer {consumer:?}: a dedup window of {window:?} with {skew:?} of skew is too long; use at most {MAX_WINDOW:?} and {MAX_SKEW:?}"
    )]
    Window {
        /// Name of the consumer.
        consumer: String,
        /// The window.
        window: Duration,
        /// The allowed skew into the future.
        skew: Duration,
    },

    /// `trusted_publishers` has no pattern.
    #[error(
        "building consumer {consumer:?}: `trusted_publishers` names nobody, so no message would be handled; name the broker's users of the relays, or leave it out"
    )]
    NobodyTrusted {
        /// Name of the consumer.
        consumer: String,
    },

    /// A pattern of `trusted_publishers` matches no user's name.
    #[error(
        "building consumer {consumer:?}: the pattern {pattern:?} of `trusted_publishers` has {} bytes or holds a control character; use 1 to 255 bytes without control characters",
        pattern.len()
    )]
    Publisher {
        /// Name of the consumer.
        consumer: String,
        /// The pattern.
        pattern: String,
    },

    /// With an argument of the queue, the broker would drop messages.
    #[error(
        "building consumer {consumer:?}: with the argument {argument} the queue would drop messages; {instead}"
    )]
    DropsMessages {
        /// Name of the consumer.
        consumer: String,
        /// The queue's argument.
        argument: String,
        /// The remedy.
        instead: &'static str,
    },
}

/// Why a consumer cannot work in its database. Each case needs a change by an operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The database's encoding, which is named here, is not UTF-8.
    #[error(
        "the database's encoding is {0}, and not every message has a form in it; make the database with ENCODING 'UTF8'"
    )]
    Encoding(String),

    /// The user lacks rights on the inbox's tables.
    #[error(
        "user {user:?} may not use the tables of the inbox; GRANT inbox_consumer TO {user:?} (migrations/roles.sql)"
    )]
    Rights {
        /// The database user.
        user: String,
    },

    /// A pooler stands before the database, and does not keep the locks of partitions.
    #[error(
        "the database is reached through a pooler, which keeps no session with the locks on partitions; connect the pool of this consumer to the server itself, or leave `partitions` out"
    )]
    Pooler,

    /// The server refused the user, the password or the database.
    #[error("the database server refused the connection; check user, password and database")]
    Refused(#[source] sqlx::Error),
}

/// Why [`Consumer::run`](crate::Consumer::run) ended before its shutdown was requested.
///
/// Each case needs a change by an operator. Temporary problems, such as an outage, do not end a consumer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// This release does not work with the database's schema.
    #[error("starting consumer {consumer:?}")]
    Schema {
        /// Name of the consumer.
        consumer: String,
        /// The problem and its remedy.
        #[source]
        source: SchemaError,
    },

    /// The inbox cannot work in the database, or the database refuses the user.
    #[error("starting consumer {consumer:?}")]
    Database {
        /// Name of the consumer.
        consumer: String,
        /// The problem and its remedy.
        #[source]
        source: DatabaseError,
    },

    /// The pool was closed while the consumer ran.
    #[error(
        "running consumer {consumer:?}: its pool was closed; end the consumer before, by its shutdown"
    )]
    PoolClosed {
        /// Name of the consumer.
        consumer: String,
    },

    /// The broker refused the connection, the queue or the exchange.
    #[error("running consumer {consumer:?}")]
    Broker {
        /// Name of the consumer.
        consumer: String,
        /// The problem and its remedy.
        #[source]
        source: BrokerError,
    },
}
