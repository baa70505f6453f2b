//! Commands and their options.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use sqlx::PgConnection;

use super::{check, migrate, parked, rebase, run, status};
use crate::{
    config::Config,
    database::{self, Purpose},
};

/// Brings messages from a PostgreSQL outbox to RabbitMQ.
///
/// Every key of the configuration file has an environment variable: `POSTROOM_`, section and key
/// in capitals, for example `POSTROOM_DATABASE_URL`, `POSTROOM_AMQP_URL`, `POSTROOM_LEASE_TIMEOUT`.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub(super) source: Source,
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Configuration file (TOML); the environment overrides it
    #[arg(long, global = true, env = "POSTROOM_CONFIG")]
    config: Option<PathBuf>,
    /// URL of the outbox's database, over file and environment
    #[arg(long, global = true, hide_env_values = true)]
    database_url: Option<String>,
    /// URL of the broker, over file and environment
    #[arg(long, global = true)]
    amqp_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish until told to stop: SIGTERM ends gracefully, a second one at once
    Run,
    /// Apply the schema's migrations as its owner, each once
    Migrate(migrate::Options),
    /// Look whether everything the relay needs is there, and say what to change
    Check(Json),
    /// Who is active, how far behind, what is parked
    Status(Json),
    /// Messages that could not be published
    #[command(subcommand)]
    Parked(parked::Action),
    /// Accept that the database is another one (restored, copied): publish all that may be
    /// undelivered, with duplicates but without losses
    Rebase(rebase::Options),
}

/// How results are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Json {
    /// Print JSON instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

impl Source {
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        let lookup = |name: &str| match name {
            "POSTROOM_DATABASE_URL" if self.database_url.is_some() => self.database_url.clone(),
            "POSTROOM_AMQP_URL" if self.amqp_url.is_some() => self.amqp_url.clone(),
            _ => std::env::var(name).ok().filter(|value| !value.is_empty()),
        };
        Ok(Config::load(self.config.as_deref(), lookup)?)
    }

    /// Connects to the database for one command.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let config = self.load()?;
        let url = config.database_url()?;
        Ok(database::connect(url, Purpose::Reader, "postroom-relay command").await?)
    }
}

impl Cli {
    /// Runs the command; errors are printed as one line.
    pub async fn run(self) -> ExitCode {
        let result = match &self.command {
            Command::Run => run::run(&self.source).await,
            Command::Migrate(options) => migrate::run(&self.source, options).await,
            Command::Check(json) => check::run(&self.source, json.json).await,
            Command::Status(json) => status::run(&self.source, json.json).await,
            Command::Parked(action) => parked::run(&self.source, action).await,
            Command::Rebase(options) => rebase::run(&self.source, options).await,
        };
        match result {
            Ok(code) => code,
            // The reader of a pipe had enough, as `head` does.
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                let mut stderr = std::io::stderr();
                let label = if stderr.is_terminal() {
                    "\x1b[31merror:\x1b[0m"
                } else {
                    "error:"
                };
                // There is nowhere left to report that stderr is closed.
                let _ = writeln!(stderr, "{label} {}", one_line(&error));
                ExitCode::FAILURE
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// An error with its causes, each once.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

/// Prints a line of a result.
pub(super) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
