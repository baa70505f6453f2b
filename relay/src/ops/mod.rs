//! Interfaces for operators: the command line, health and metrics.

mod admin;
pub(crate) mod check;
mod cli;
pub(crate) mod config_args;
mod limited_listener;
mod logs;
pub(crate) mod migrate;
pub(crate) mod parked;
mod rebase;
mod run;
pub(crate) mod status;
mod table;

pub use cli::Cli;
