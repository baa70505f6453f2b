//! Answers of the database, for which nobody waits for ever.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::{database::DatabaseError, error::RelayError};

/// Waits for an answer as long as `patience`: a client has nothing else by which to notice that a connection
/// fell silent.
pub(crate) async fn within<T, E>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, RelayError>
where
    RelayError: From<E>,
{
    match timeout(patience, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Silent(patience).into()),
    }
}
