//! Errors of the broker, divided into permanent refusals and failures that may pass.

use std::error::Error;

use amqp::Refusal;

use crate::intake::source::SourceError;

/// Refusal that stays until an operator changes the broker or the consumer's settings.
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
        /// The broker's error, which names the argument.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The broker does not accept one of the queue's arguments.
    #[error(
        "queue {queue:?} cannot be declared: the broker does not take one of its arguments; correct `queue_argument`"
    )]
    Argument {
        /// Name of the queue.
        queue: String,
        /// The broker's error, which names the argument.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The exchange that `declare_exchange` asks for exists with another type or other arguments.
    #[error(
        "exchange {exchange:?} exists, but is no durable topic exchange; name another with `exchange`, or delete it so that it is declared anew"
    )]
    Exchange {
        /// Name of the exchange.
        exchange: String,
        /// The broker's error, which names the argument.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    /// The broker refuses the user, the virtual host or a permission.
    #[error(
        "{doing}: the broker refused; check user, password, virtual host and its permissions: configure, write and read on the queue (with `partitions`, on their queues and exchanges), read on the exchange and on each topic that is bound to; configure on the exchange only if `declare_exchange` is set (\"At the broker\" in docs/operations.md)"
    )]
    Refused {
        /// Request that was refused.
        doing: &'static str,
        /// The broker's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Reason why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A permanent refusal: another try cannot help.
    #[error(transparent)]
    Refused(#[from] BrokerError),
    /// The exchange is missing, and this consumer does not declare it.
    #[error(
        "exchange {exchange:?} does not exist; start the relay that declares it, or declare it (topic, durable)"
    )]
    NoExchange {
        exchange: String,
        #[source]
        source: Box<amqp::Error>,
    },
    /// The broker cannot be reached, or a request failed; another try may help.
    #[error("{doing}")]
    Unreachable {
        doing: &'static str,
        #[source]
        source: Box<amqp::Error>,
    },
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            failure => Self::Lost(Box::new(failure)),
        }
    }
}

impl Failure {
    /// Returns `true` if the broker answered that the queue or the exchange does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        let Self::Unreachable { source, .. } = self else {
            return false;
        };
        source.refusal() == Some(Refusal::NotFound)
    }

    pub(super) fn new(doing: &'static str, source: amqp::Error) -> Self {
        let source = Box::new(source);
        match source.refusal() {
            Some(Refusal::Access | Refusal::Topic | Refusal::NotAllowed) => {
                BrokerError::Refused { doing, source }.into()
            }
            // A limit or an exclusive use may pass, because other connections and consumers may end.
            _ => Self::Unreachable { doing, source },
        }
    }
}
