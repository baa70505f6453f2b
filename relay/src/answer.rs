//! Answers of the database, for which nobody waits for ever.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::{database::DatabaseError, error::RelayError};

/// Waits for an answer as long as `answer_timeout`: a client has nothing else by which to notice that a connection
/// fell silent.
pub(crate) async fn within<T, E>(
    answer_timeout: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, RelayError>
where
    RelayError: From<E>,
{
    match timeout(answer_timeout, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Silent(answer_timeout).into()),
    }
}
