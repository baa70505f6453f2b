//! The end-to-end demo: processes a file of real orders through real services, and checks that each order
//! was handled exactly once.
//!
//! Everything runs as in production: services, relays and the tap are separate processes with unprivileged
//! logins, in databases and a virtual host made for this demo.

mod address;
mod broker;
mod databases;
mod faults;
mod figures;
mod processes;
mod programs;
mod report;
mod settle;
mod steps;
mod totals;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use shop::{
    service::stop_signal,
    terminal::{print_error, print_progress},
};
use url::Url;

use crate::steps::Demo;

/// Exit code of an interrupted program (128 + SIGINT), as in shells.
const INTERRUPTED: u8 = 130;

/// Sends a file of orders through Postroom and checks that each was handled exactly once.
///
/// Makes four databases (services orders, billing, loyalty, shipping) and a virtual host, starts the
/// services, a relay for each service that publishes, and a tap that sees everything, each as a
/// process; imports the orders; waits until everything has settled; and compares what the services
/// hold with what the file holds. At the end everything is removed. The exit code is 0 if every
/// figure is right.
///
/// The servers may be your own: what the demo makes there has a random ending to its name. The
/// database user must be allowed to create databases and roles. `scripts/services up` starts
/// private servers, and `. target/services/env` names them to this program.
#[derive(Parser)]
#[command(max_term_width = 100)]
pub(crate) struct Args {
    /// Purchases, one per line: customer, date (yyyymmdd), CDs, dollars
    #[arg(
        long,
        value_name = "FILE",
        default_value = "examples/data/cdnow_orders.txt"
    )]
    orders: PathBuf,
    /// How many orders are placed at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    producers: u16,
    /// Seconds within which everything must have settled after the import
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    deadline: u64,
    /// Meanwhile kill nothing: otherwise relays and a service are killed with SIGKILL, a standby
    /// takes over, and the broker is restarted
    #[arg(long)]
    calm: bool,
    /// Restarts the broker; without it, all connections to it are closed instead (which needs the
    /// management API)
    #[arg(long, value_name = "COMMAND", env = "POSTROOM_RESTART_RABBITMQ")]
    restart_broker: Option<String>,
    /// Leave the databases and the virtual host, and say where they are
    #[arg(long)]
    keep: bool,
    /// PostgreSQL, as a user who may create databases and roles
    #[arg(
        long,
        value_name = "URL",
        env = "POSTROOM_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Url,
    /// RabbitMQ
    #[arg(
        long,
        value_name = "URL",
        env = "POSTROOM_AMQP_URL",
        hide_env_values = true
    )]
    amqp_url: Url,
    /// RabbitMQ's management API, to make a virtual host; without it the one of the AMQP URL is
    /// used
    #[arg(
        long,
        value_name = "URL",
        env = "POSTROOM_AMQP_ADMIN_URL",
        hide_env_values = true
    )]
    amqp_admin_url: Option<Url>,
}

impl Args {
    const fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match demo(&args).await {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &Args) -> anyhow::Result<ExitCode> {
    let mut demo = Demo::new(args)?;
    let done = tokio::select! {
        done = demo.run(args) => Some(done),
        () = stop_signal()? => None,
    };
    let code = match done {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            print_error(&error);
            ExitCode::FAILURE
        }
        None => {
            print_progress("\ninterrupted: ending everything (again: at once)");
            ExitCode::from(INTERRUPTED)
        }
    };
    tokio::select! {
        cleared = demo.clear(args.keep) => cleared?,
        // Dropping the demo kills its remaining processes.
        () = stop_signal()? => return Ok(ExitCode::from(INTERRUPTED)),
    }
    Ok(code)
}
