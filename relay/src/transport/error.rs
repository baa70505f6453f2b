//! Reasons why the broker cannot be used.

use std::time::Duration;

use amqp::{Error, InvalidUrl, TlsError};
use relay_core::identity::pattern;

use crate::config::ConfigError;

/// Reason why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No URL is set.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The URL cannot be read.
    #[error("the broker's URL {url} is not understood: {source}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// The problem.
        source: InvalidUrl,
    },
    /// The URL sends everything in clear to another machine.
    #[error(
        "the broker's URL {url} sends the password and all messages in clear to another machine; write amqps://, or set amqp.allow_plaintext = true (POSTROOM_AMQP_ALLOW_PLAINTEXT) if nobody can listen or answer in between"
    )]
    Plaintext {
        /// The URL, without its password.
        url: String,
    },
    /// The settings of TLS or their files cannot be used.
    #[error("the TLS settings for {url}: {source} (amqp.tls)")]
    Tls {
        /// The URL, without its password.
        url: String,
        /// The problem.
        source: TlsError,
    },
    /// The broker cannot be reached, or refuses the connection.
    #[error("connecting to {url}: {source}")]
    Connect {
        /// The URL, without its password.
        url: String,
        /// The client's error.
        source: Error,
    },
    /// The credentials or the virtual host are wrong.
    #[error(
        "{url} refuses the connection: {source}; check user, password, virtual host and the user's permissions on it"
    )]
    Unauthorised {
        /// The URL, without its password.
        url: String,
        /// The broker's error.
        source: Error,
    },
    /// An answer is overdue.
    #[error("{what}: no answer within {after:?}")]
    TimedOut {
        /// Request that was not answered.
        what: &'static str,
        /// Time limit of the wait.
        after: Duration,
    },
    /// Another connection holds the fence: another relay of this outbox, or some other client.
    #[error(
        "the exclusive queue {queue} is held by another connection. If that does not pass: a relay of a copy of this database, of an old primary, or of another installation publishes here; stop it. Or somebody who is no relay has taken the queue; close that connection, and let no other user configure {}. Whose it is: rabbitmqctl list_queues name owner_pid, rabbitmqctl list_connections pid user peer_host name. A broker short of memory or disk also keeps the connections of relays that have ended, until it has room again",
        pattern(queue)
    )]
    Fenced {
        /// Name of the queue.
        queue: String,
    },
    /// A queue that no relay has declared has the fence's name.
    #[error(
        "the queue {queue}, which is to keep a second relay from publishing, exists and is not exclusive: no relay has declared it, and none can publish while it is there. Delete it (rabbitmqctl delete_queue {queue}), and let no other user configure {}",
        pattern(queue)
    )]
    NotExclusive {
        /// Name of the queue.
        queue: String,
    },
    /// The user may not declare the fence.
    #[error(
        "the exclusive queue {queue}, which keeps a second relay from publishing, may not be declared: {source}; grant the user configure on {} (rabbitmqctl set_permissions), and no other user",
        pattern(queue)
    )]
    FenceDenied {
        /// Name of the queue.
        queue: String,
        /// The broker's error.
        source: Error,
    },
    /// The exchange exists with other properties.
    #[error(
        "exchange {exchange:?} exists with other properties than durable, topic and no alternate exchange ({source}); use another amqp.exchange, remove the old one, or set amqp.declare_exchange = false"
    )]
    ExchangeDiffers {
        /// Name of the exchange.
        exchange: String,
        /// The broker's error.
        source: Error,
    },
    /// The exchange is missing or may not be used.
    #[error(
        "exchange {exchange:?} cannot be used: {source}; create it, set amqp.declare_exchange = false and grant the user write on it; or let the relay declare it (amqp.declare_exchange) and grant the user configure and write on it"
    )]
    RouteDown {
        /// Name of the exchange.
        exchange: String,
        /// The broker's error.
        source: Error,
    },
    /// The broker knows the connection's user by another name than the messages.
    #[error(
        "messages name a publisher that is not the connection's user: {source}; set amqp.user_id to the broker's name of the user, or to false, and consumers that name trusted publishers will refuse the messages"
    )]
    UserId {
        /// The broker's error, which names both users.
        source: Error,
    },
    /// The connection or a channel was closed.
    #[error("the connection was lost: {0}")]
    Lost(Error),
    /// The broker's confirms do not match the published messages; none of them is trusted, and all messages are sent
    /// again.
    #[error("what the broker answered does not match what was published: {0}; report this")]
    Unmatched(&'static str),
    /// The connection ended without an error.
    #[error("the connection was lost")]
    Closed,
    /// A task of the relay panicked.
    #[error("a task of the relay panicked; the log tells where and why")]
    Task,
    /// A confirm is overdue.
    #[error("no confirm within {after:?}; a quorum queue may have lost its majority")]
    ConfirmOverdue {
        /// Time limit of the wait.
        after: Duration,
    },
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

impl BrokerError {
    /// Returns `true` if the broker refuses until an operator changes a right, a password, a queue or an
    /// exchange.
    pub const fn is_refusal(&self) -> bool {
        let refuses = matches!(
            self,
            Self::NotExclusive { .. } | Self::FenceDenied { .. } | Self::RouteDown { .. }
        );
        refuses || self.is_permanent()
    }

    /// Returns `true` if another connection holds the fence, or another queue has its name.
    pub(crate) const fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::NotExclusive { .. })
    }

    /// Returns `true` if the error stays until an operator changes the configuration or the broker.
    pub const fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Url { .. }
                | Self::Plaintext { .. }
                | Self::Tls { .. }
                | Self::Unauthorised { .. }
                | Self::ExchangeDiffers { .. }
                | Self::UserId { .. }
        )
    }
}
