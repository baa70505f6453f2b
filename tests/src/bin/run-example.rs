//! Runs an example beside a relay, in a database and a virtual host that are removed afterwards: `examples/run`.

use std::process::ExitCode;

use anyhow::Context as _;
use postroom_testkit::Stack;
use support::example;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let name = std::env::args().nth(1).context("usage: run-example NAME")?;
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    let ended = example(&stack, &name).status().await;
    drop(relay);
    let ended = ended.with_context(|| format!("running the example {name}"))?;
    Ok(if ended.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
