//! A deadline for every answer of the database.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::database::DatabaseError;

/// Waits for an answer for at most `answer_timeout`: a client cannot notice a silent connection without a
/// deadline.
pub(crate) async fn within<T, E>(
    answer_timeout: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, DatabaseError>
where
    DatabaseError: From<E>,
{
    match timeout(answer_timeout, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Silent(answer_timeout)),
    }
}
