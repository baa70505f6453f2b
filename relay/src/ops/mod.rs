//! What operators use: the command line, health and metrics.

mod admin;
mod callers;
pub(crate) mod check;
mod cli;
mod logs;
pub(crate) mod migrate;
pub(crate) mod parked;
mod rebase;
mod run;
pub(crate) mod source;
pub(crate) mod status;
mod table;

pub use cli::Cli;
