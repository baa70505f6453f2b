//! Connection pools that close connections whose server no longer answers, and that follow a fail-over.

use std::{io, time::Duration};

use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{sleep, timeout};

use crate::database::{ConnectError, DatabaseAddress, InvalidUrl, TargetSession};

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
/// ```no_run
/// # async fn pool() -> Result<sqlx::PgPool, outbox::pool::PoolError> {
/// let url = "postgres://orders@db.example/orders?sslmode=verify-full".parse()?;
/// let options = outbox::pool::options().max_connections(20);
/// let pool = outbox::pool::connect(options, &url).await?;
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

/// Longest wait for one server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval between looks at the server in use, and between attempts to find another.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Error of making a pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The URL cannot be read.
    #[error("the database's URL is not understood: {0}")]
    Url(#[from] InvalidUrl),
    /// No server can be used; the error names each with its cause.
    #[error("connecting to the database: {0}")]
    Connect(#[from] ConnectError),
    /// sqlx refuses a parameter.
    #[error("connecting to the database")]
    Options(#[from] sqlx::Error),
}

/// Connects a pool to the first server of a URL that is of the kind asked for (`target_session_attrs`).
///
/// A pool of sqlx knows one server at a time: run [`follow`] beside it, or the pool stays with a server that has failed.
/// Where the URL names several servers and asks for no kind, the primary is taken, because publishing writes.
///
/// # Errors
/// Fails if no server can be used, with the cause for each.
pub async fn connect(
    options: PgPoolOptions,
    address: &DatabaseAddress,
) -> Result<PgPool, PoolError> {
    let (connection, server) = find(address).await?;
    // An error would be the server's, and shows when the pool is used.
    let _ = connection.close().await;
    Ok(options.connect_lazy_with(server))
}

/// Makes a pool for the first server of a URL without connecting, so that the database may start later.
///
/// With several servers, [`follow`] leads the pool to the server of the kind asked for.
///
/// # Errors
/// Fails if sqlx refuses a parameter.
pub fn connect_lazy(
    options: PgPoolOptions,
    address: &DatabaseAddress,
) -> Result<PgPool, PoolError> {
    Ok(options.connect_lazy_with(address.first_options()?))
}

/// Keeps a pool's new connections with a server of the kind asked for, until the pool is closed.
///
/// Run the future as a task beside a pool whose URL names several servers. It holds one session at the server in use
/// and looks at the server every second. If the server fails or becomes another kind, as a primary that is demoted, the
/// future looks for another server of the URL and leads new connections there. Connections to the old server fail by
/// themselves, after five seconds at the latest with [`options`]. With one server the future only waits.
///
/// ```no_run
/// # async fn pool() -> Result<sqlx::PgPool, outbox::pool::PoolError> {
/// let url = "postgres://orders@db1,db2/orders?sslmode=verify-full&target_session_attrs=read-write".parse()?;
/// let pool = outbox::pool::connect(outbox::pool::options(), &url).await?;
/// tokio::spawn(outbox::pool::follow(pool.clone(), url));
/// # Ok(pool)
/// # }
/// ```
pub async fn follow(pool: PgPool, address: DatabaseAddress) {
    let following = async {
        while address.servers().len() > 1 {
            if let Ok((mut connection, server)) = find(&address).await {
                pool.set_connect_options(server);
                watch(&mut connection, wanted(&address)).await;
            } else {
                sleep(LOOK_INTERVAL).await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = following => {}
        () = pool.close_event() => {}
    }
}

/// Returns when the server has failed or is no longer of the kind asked for.
async fn watch(connection: &mut PgConnection, target: TargetSession) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let state = timeout(PING_TIMEOUT, target.check(&mut *connection)).await;
        let alive = async { timeout(PING_TIMEOUT, connection.ping()).await };
        if !matches!(state, Ok(Ok(Ok(())))) || !matches!(alive.await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn find(address: &DatabaseAddress) -> Result<(PgConnection, PgConnectOptions), PoolError> {
    let address = address.clone().with_target(wanted(address));
    let (connection, server) = address.connect(CONNECT_TIMEOUT, |options| options).await?;
    Ok((connection, server.options()?))
}

/// Returns the kind of server that a pool needs.
fn wanted(address: &DatabaseAddress) -> TargetSession {
    match address.target() {
        TargetSession::Any if address.servers().len() > 1 => TargetSession::Primary,
        // A standby that answers is kept.
        target => target,
    }
}
