//! Why a consumer could not be made, or ended.

use std::time::Duration;

use outbox::schema::SchemaError;

use crate::{
    broker::BrokerError,
    dedup::{MAX_SKEW, MAX_WINDOW},
};

/// Why a consumer cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting without a default is missing.
    #[error("building consumer {consumer:?}: `{setting}` is not set")]
    Missing {
        /// Name of the consumer.
        consumer: String,
        /// Name of the setting.
        setting: &'static str,
    },

    /// A name cannot be carried.
    #[error(
        "building consumer {consumer:?}: {what} {name:?} has {} bytes; use 1 to 255, none of them zero",
        name.len()
    )]
    Name {
        /// Name of the consumer.
        consumer: String,
        /// What it names: `consumer`, `queue`, `exchange`, `binding` or `queue argument`.
        what: &'static str,
        /// The name.
        name: String,
    },

    /// The broker's URL cannot be read. It is not shown: it may hold a password.
    #[error(
        "building consumer {consumer:?}: the AMQP URL cannot be read ({problem}); write amqp://user:password@host:5672/vhost, with / in the virtual host as %2f"
    )]
    Url {
        /// Name of the consumer.
        consumer: String,
        /// What is wrong with it.
        problem: String,
    },

    /// No handler was added.
    #[error("building consumer {0:?}: it has no handler; add one with `on`")]
    NoHandler(String),

    /// Two handlers take the same type.
    #[error(
        "building consumer {consumer:?}: two handlers take the type {type_name:?}; give one of the events another `TYPE`, or make two consumers"
    )]
    TwoHandlers {
        /// Name of the consumer.
        consumer: String,
        /// The type.
        type_name: &'static str,
    },

    /// A setting must be at least 1.
    #[error("building consumer {consumer:?}: `{setting}` is 0; use at least 1")]
    Zero {
        /// Name of the consumer.
        consumer: String,
        /// Name of the setting.
        setting: &'static str,
    },

    /// The pool would starve the handlers.
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

    /// The ring of ids cannot hold the dedup window.
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

    /// The queue would drop messages.
    #[error(
        "building consumer {consumer:?}: with the argument {argument} the queue would drop messages; {instead}"
    )]
    DropsMessages {
        /// Name of the consumer.
        consumer: String,
        /// The queue's argument.
        argument: String,
        /// What to do.
        instead: &'static str,
    },
}

/// Why a database does not serve a consumer until somebody changes something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Its texts are not in UTF-8.
    #[error(
        "the database's encoding is {0}, and not every message has a form in it; make the database with ENCODING 'UTF8'"
    )]
    Encoding(String),

    /// The user lacks a right.
    #[error(
        "user {user:?} may not use the tables of the inbox; GRANT inbox_consumer TO {user:?} (migrations/roles.sql)"
    )]
    Rights {
        /// Who asked.
        user: String,
    },

    /// The server knows no such user, password or database.
    #[error("the database server refused the connection; check user, password and database")]
    Refused(#[source] sqlx::Error),
}

/// Why a consumer ended before it was told to.
///
/// Each needs somebody to change something. Whatever may pass by itself is waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The database's schema is not one that this release works with.
    #[error("starting consumer {consumer:?}")]
    Schema {
        /// Name of the consumer.
        consumer: String,
        /// What is wrong and what to do.
        #[source]
        source: SchemaError,
    },

    /// The database is none that an inbox can work in, or refuses this user.
    #[error("starting consumer {consumer:?}")]
    Database {
        /// Name of the consumer.
        consumer: String,
        /// What is wrong and what to do.
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

    /// The broker refused.
    #[error("running consumer {consumer:?}")]
    Broker {
        /// Name of the consumer.
        consumer: String,
        /// What is wrong and what to do.
        #[source]
        source: BrokerError,
    },
}
