//! What operators use: the command line, health and metrics.

mod admin;
mod check;
mod cli;
mod logs;
mod migrate;
mod parked;
mod rebase;
mod run;
mod status;
mod table;

pub use cli::Cli;
