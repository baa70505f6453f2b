//! Shared parts of the commands: the arguments that locate the configuration, a database connection, printing.

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
};

use clap::Args;
use sqlx::PgConnection;

use crate::{
    config::{self, Config},
    store::{self, Purpose},
};

/// Arguments that locate the configuration and override parts of it.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
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

/// Output format of a result.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Json {
    /// Print JSON instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

impl ConfigArgs {
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        let lookup = |name: &str| match name {
            "POSTROOM_DATABASE_URL" if self.database_url.is_some() => self.database_url.clone(),
            "POSTROOM_AMQP_URL" if self.amqp_url.is_some() => self.amqp_url.clone(),
            _ => std::env::var(name).ok().filter(|value| !value.is_empty()),
        };
        Config::load(self.config.as_deref(), lookup).map_err(|error| {
            // A missing value may be set under a misspelt name.
            let problems: Vec<String> = Self::unknown_variables().collect();
            if problems.is_empty() {
                error.into()
            } else {
                anyhow::anyhow!("{error}. {}", problems.join(". "))
            }
        })
    }

    /// Returns one line for each environment variable that looks like a setting but is unknown.
    pub(super) fn unknown_variables() -> impl Iterator<Item = String> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let unknown = config::unknown(names).into_iter();
        unknown.map(|name| format!("{name} is not a setting, and ignored; is it spelt right?"))
    }

    /// Connects to the database for one command.
    pub(super) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let config = self.load()?;
        Ok(store::connect(&config, Purpose::Command, "postroom-relay command").await?)
    }
}

/// Prints a line of the result to standard output.
pub(super) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    print(std::io::stdout(), line)
}

/// Prints a remark to standard error, for example about a long wait.
pub(super) fn hint(line: impl std::fmt::Display) -> anyhow::Result<()> {
    print(std::io::stderr(), line)
}

/// Prints a line. A reader that closed the pipe, as `head` does, changes neither the command's work nor its
/// result.
fn print(mut to: impl Write, line: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(to, "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}
