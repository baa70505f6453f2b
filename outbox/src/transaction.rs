//! Transactions whose beginning can be cancelled safely.

use std::panic;

use sqlx::{PgPool, Postgres, Transaction};

/// Begins a transaction on a connection of the pool.
///
/// Safe to cancel at any moment, unlike `Pool::begin`: in sqlx 0.8.4 to 0.9.0 a `begin` dropped midway
/// returns its connection to the pool with an open transaction, into which the connection's next user
/// writes. This function runs `Pool::begin` to its end on a separate task.
///
/// # Errors
/// As `Pool::begin`: no connection within the pool's acquire timeout, or the server refused.
///
/// # Panics
/// Panics outside a tokio runtime.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    #[allow(clippy::disallowed_methods)] // The only allowed call: nothing cancels this task.
    let begin = tokio::spawn(async move { pool.begin().await });
    match begin.await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(payload) => panic::resume_unwind(payload),
            // The runtime is shutting down.
            Err(_) => Err(sqlx::Error::PoolClosed),
        },
    }
}
