//! The relay's command line.

use std::process::ExitCode;

use clap::Parser as _;

/// Global allocator. Each message makes some forty small allocations in different tasks: the C
/// library's allocator spent a third of the relay's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    relay::Cli::parse().run().await
}
