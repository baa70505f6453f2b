//! The relay's command line.

use std::process::ExitCode;

use clap::Parser as _;

/// A message is some forty small allocations on its way, made and freed by different tasks: the
/// allocator of the C library spent a third of the relay's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    relay::ops::Cli::parse().run().await
}
