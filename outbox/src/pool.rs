//! Pools whose connections do not outlast their server.

use std::{io, time::Duration};

use sqlx::{Connection as _, postgres::PgPoolOptions};
use tokio::time::timeout;

/// Longest wait for a sign of life of a connection that is returned.
const PATIENCE: Duration = Duration::from_secs(5);

/// Options of a pool that gives a connection up if its server has gone without a word.
///
/// A host that loses its power or its network closes no connection. sqlx tests a connection when it
/// is returned, and keeps its place in the pool meanwhile, but sets that test no time: it ends when
/// the kernel gives up, after 15 minutes by default, and until then a pool may be full of such
/// connections while another server has long taken over the address. Here the test ends after five
/// seconds, and the connection with it.
///
/// Everything else is as sqlx has it. Add to these what you need, but an `after_release` of your
/// own, which would take the place of this one. Leave `test_before_acquire` on, which does the same
/// for connections that lay idle. It costs a round trip for each connection that is returned.
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
            // An error ends the connection at once; `false` would say goodbye to the server first.
            match timeout(PATIENCE, connection.ping()).await {
                Ok(answer) => answer.map(|()| true),
                Err(_) => Err(sqlx::Error::Io(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the server of a returned connection does not answer",
                ))),
            }
        })
    })
}
