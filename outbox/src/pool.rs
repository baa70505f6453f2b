//! Connection pools that close connections whose server no longer answers.

use std::{io, time::Duration};

use sqlx::{Connection as _, postgres::PgPoolOptions};
use tokio::time::timeout;

/// Longest wait for the answer to the ping of a connection that is returned to the pool.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns pool options that close a connection whose server no longer answers.
///
/// A host that loses its power or its network closes no connection. sqlx tests a connection when it is
/// returned to the pool, and counts it among the pool's connections meanwhile, but sets no deadline for the
/// test: it ends with the kernel's timeout, after 15 minutes by default. Until then a pool may be full of
/// dead connections although another server has taken over the address. With these options the test ends
/// after five seconds, and the connection is closed.
///
/// All other options have sqlx's defaults. Set what you need, except `after_release`, which would replace
/// this test. Leave `test_before_acquire` on: it does the same for idle connections. The test costs one
/// round trip for each returned connection.
///
/// ```
/// # fn pool() -> Result<sqlx::PgPool, sqlx::Error> {
/// let pool = outbox::pool::options()
///     .max_connections(20)
///     .connect_lazy("postgres://orders@db.example/orders")?;
/// # Ok(pool)
/// # }
/// ```
pub fn options() -> PgPoolOptions {
    PgPoolOptions::new().after_release(|connection, _| {
        Box::pin(async {
            // An error closes the connection at once; `false` would first send a terminate message to the
            // server.
            match timeout(PING_TIMEOUT, connection.ping()).await {
                Ok(answer) => answer.map(|()| true),
                Err(_) => Err(sqlx::Error::Io(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the server of a returned connection does not answer",
                ))),
            }
        })
    })
}
