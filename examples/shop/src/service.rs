//! Common parts of the shop's services: server addresses, logs, and the stop signal.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Args;
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Address of the service's database.
#[derive(Args)]
pub struct Database {
    /// The service's own database: `postgres://user:password@host/database`
    #[arg(long, env = "POSTROOM_DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// Address of the broker.
#[derive(Args)]
pub struct Broker {
    /// The broker: `amqp://user:password@host/vhost`
    #[arg(long, env = "POSTROOM_AMQP_URL", hide_env_values = true)]
    pub amqp_url: String,
}

impl Database {
    /// Makes a pool without connecting: the database may be started later.
    ///
    /// # Errors
    /// Fails if the URL is invalid.
    pub fn pool(&self, connections: u32) -> anyhow::Result<PgPool> {
        outbox::pool::options()
            .max_connections(connections)
            .connect_lazy(&self.database_url)
            .context("reading the database's URL (--database-url, POSTROOM_DATABASE_URL)")
    }
}

// The `Debug` output leaves out the URL, which may hold a password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// Writes logs to standard error. `RUST_LOG` filters them; `info` by default.
pub fn logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = match "lapin=off".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Completes when the process receives SIGTERM, SIGINT (Ctrl-C) or SIGHUP.
///
/// # Errors
/// Fails if signals cannot be watched.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}
