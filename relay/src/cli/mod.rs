//! The command line: commands, their options, and the rendering of results.

mod check;
mod config_args;
mod logs;
mod migrate;
mod parked;
mod rebase;
mod run;
mod status;
mod table;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use postroom_message::errors::chain;

use config_args::{ConfigArgs, Json};

/// Brings messages from a PostgreSQL outbox to RabbitMQ.
///
/// Every key of the configuration file has an environment variable: `POSTROOM_`, section and key
/// in capitals, for example `POSTROOM_DATABASE_URL`, `POSTROOM_AMQP_URL`, `POSTROOM_LEASE_TIMEOUT`.
#[derive(Debug, Parser)]
#[command(name = "relay", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    source: ConfigArgs,
    #[command(subcommand)]
    command: Command,
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

impl Cli {
    /// Runs the command; an error is printed as one line.
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
            Err(error) => {
                let mut stderr = std::io::stderr();
                let label = if stderr.is_terminal() {
                    "\x1b[31merror:\x1b[0m"
                } else {
                    "error:"
                };
                // There is nowhere left to report that stderr is closed.
                let _ = writeln!(stderr, "{label} {}", chain(error.as_ref()));
                ExitCode::FAILURE
            }
        }
    }
}
