//! The examples of `examples/features`, as programs.

use std::process::Stdio;

use postroom_testkit::{Login, Stack, binary};
use tokio::process::Command;

/// The command that runs an example in a stack, with a relay already running there.
pub fn example(stack: &Stack, name: &str) -> Command {
    let mut command = Command::new(binary(&format!("examples/{name}")));
    command
        .env_clear()
        .env("POSTROOM_DATABASE_URL", stack.database.url(Login::Owner))
        .env("POSTROOM_AMQP_URL", stack.broker.url())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}
