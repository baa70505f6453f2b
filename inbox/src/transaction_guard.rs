//! A handler's access to the open transaction, and the request to record idempotency keys in it.

use std::ops::{Deref, DerefMut};

use sqlx::{Postgres, Transaction};
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::{HandlerError, idempotency::EventKeys};

/// A handler's access to the open transaction. Dropping the guard returns the transaction to the inbox.
#[derive(Debug)]
pub(crate) struct TransactionGuard {
    transaction: OwnedMutexGuard<Transaction<'static, Postgres>>,
    /// Takes the request of the call; `None` if the consumer has no idempotency keys.
    requests: Option<oneshot::Sender<KeyRequest>>,
}

/// The request to record idempotency keys. The transaction comes with it and goes back with the answer: the inbox
/// records the keys itself, so that the wait for another transaction with one of the keys takes no time of the handler,
/// and no layer around the handler sees the database fail.
#[derive(Debug)]
pub(crate) struct KeyRequest {
    pub(crate) guard: TransactionGuard,
    pub(crate) keys: EventKeys,
    pub(crate) answer: oneshot::Sender<KeyAnswer>,
}

/// The transaction, and the positions of the events that are duplicates by meaning.
pub(crate) type KeyAnswer = (TransactionGuard, Vec<usize>);

impl TransactionGuard {
    /// Creates the guard of a call. `requests` takes the call's request to record keys.
    pub(crate) const fn new(
        transaction: OwnedMutexGuard<Transaction<'static, Postgres>>,
        requests: Option<oneshot::Sender<KeyRequest>>,
    ) -> Self {
        Self {
            transaction,
            requests,
        }
    }

    /// Records idempotency keys. Returns the positions of the events that are duplicates by meaning.
    ///
    /// # Errors
    /// The transaction has ended, or the call had keys recorded before. The error of the database is no error of the
    /// handler: the inbox drops the call.
    pub(crate) async fn record_keys(mut self, keys: EventKeys) -> Result<KeyAnswer, HandlerError> {
        let gone = || HandlerError::retry("cannot record the idempotency key: the call has ended");
        let requests = self.requests.take().ok_or_else(gone)?;
        let (answer, answered) = oneshot::channel();
        let request = KeyRequest {
            guard: self,
            keys,
            answer,
        };
        requests.send(request).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

impl Deref for TransactionGuard {
    type Target = Transaction<'static, Postgres>;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

impl DerefMut for TransactionGuard {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.transaction
    }
}
