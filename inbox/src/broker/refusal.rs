//! What the broker refuses for good, told apart from what may work later.

use std::error::Error;

use amqp::Refusal;

/// Why the broker will not serve this consumer until somebody changes something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The queue exists with other arguments.
    #[error(
        "queue {queue:?} exists with other arguments than this consumer asks for; make the consumer's settings match it, or drain and delete the queue so that it is declared anew"
    )]
    Queue {
        /// Name of the queue.
        queue: String,
        /// The broker's words, which name the argument.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The broker cannot make such a queue.
    #[error(
        "queue {queue:?} cannot be declared: the broker does not take one of its arguments; correct `queue_argument`"
    )]
    Argument {
        /// Name of the queue.
        queue: String,
        /// The broker's words, which name the argument.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The exchange, which `declare_exchange` asks for, exists with another type or other arguments.
    #[error(
        "exchange {exchange:?} exists, but is no durable topic exchange; name another with `exchange`, or delete it so that it is declared anew"
    )]
    Exchange {
        /// Name of the exchange.
        exchange: String,
        /// The broker's words, which name the argument.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The broker knows the user, or the virtual host, and refuses.
    #[error(
        "{doing}: the broker refused; check user, password, virtual host and its permissions: configure, write and read on the queue, read on the exchange and on each topic that is bound to; configure on the exchange only if `declare_exchange` is set (\"At the broker\" in docs/operations.md)"
    )]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The broker's words.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It makes no sense to try again.
    #[error(transparent)]
    Refused(#[from] BrokerError),
    /// The exchange is missing, and others declare it.
    #[error(
        "exchange {exchange:?} does not exist; start the relay that declares it, or declare it (topic, durable)"
    )]
    NoExchange {
        exchange: String,
        #[source]
        source: Box<lapin::Error>,
    },
    /// It may work later.
    #[error("{doing}")]
    Unreachable {
        doing: &'static str,
        #[source]
        source: Box<lapin::Error>,
    },
}

impl Failure {
    pub(super) fn new(doing: &'static str, source: lapin::Error) -> Self {
        let source = Box::new(source);
        match Refusal::of(&source) {
            Some(Refusal::Access | Refusal::Topic | Refusal::NotAllowed) => {
                BrokerError::Refused { doing, source }.into()
            }
            // Other connections and consumers may end, so a limit or an exclusive use may pass.
            _ => Self::Unreachable { doing, source },
        }
    }
}
