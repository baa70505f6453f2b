//! Help, version and usage errors of the relay's command line.

use std::fmt::Write as _;

use futures_util::future::{BoxFuture, FutureExt as _};
use postroom_testkit::command::{Ended, relay};

/// Without a terminal, clap takes the width of its lines from here.
const WIDTH: (&str, &str) = ("COLUMNS", "100");

async fn run(arguments: &[&str]) -> Ended {
    relay(arguments, &[WIDTH]).await
}

/// The text that a command line prints, and its exit code.
async fn told(arguments: &[&str]) -> String {
    let ended = run(arguments).await;
    let mut text = format!("$ relay {}\n{}", arguments.join(" "), ended.stdout);
    text.push_str(&ended.stderr);
    if ended.code != Some(0) {
        let code = ended
            .code
            .map_or("none".to_owned(), |code| code.to_string());
        writeln!(text, "exit code {code}").unwrap();
    }
    text
}

/// Names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The help of a command and of all below it.
fn helps(command: Vec<String>) -> BoxFuture<'static, Vec<String>> {
    async move {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = told(&arguments).await;
        let mut all = vec![help.clone()];
        for name in subcommands(&help) {
            let below = command.iter().cloned().chain([name]).collect();
            all.extend(helps(below).await);
        }
        all
    }
    .boxed()
}

#[tokio::test]
async fn the_help_of_every_command_is_as_before() {
    let mut all = helps(Vec::new()).await;
    assert!(all.len() > 10, "subcommands are found: {all:#?}");
    all.push(told(&["-h"]).await);
    let version = told(&["--version"]).await;
    all.push(version.replace(env!("CARGO_PKG_VERSION"), "<version>"));
    golden::check("help.txt", &all.join("\n"));
}

#[tokio::test]
async fn errors_of_usage_are_as_before() {
    let mut all = Vec::new();
    for arguments in [
        &[][..],
        &["publish"],
        &["run", "--loud"],
        &["run"],
        &["run", "--config", "/nowhere/relay.toml"],
        &["status", "--database-url", "not a url"],
        &["parked"],
        &["parked", "list", "--reason", "nonsense"],
        &["parked", "list", "--limit", "0"],
        &["parked", "show", "first"],
        &["parked", "retry"],
        &["parked", "discard"],
        &["rebase", "--wait", "soon"],
    ] {
        all.push(told(arguments).await);
    }
    golden::check("usage.txt", &all.join("\n"));
}
