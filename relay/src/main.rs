//! The relay's command line.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    relay::ops::Cli::parse().run().await
}
