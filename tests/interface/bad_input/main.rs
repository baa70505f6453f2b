//! Answers of the relay's binary to wrong input, missing servers and operators' commands.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broker;
mod callers;
mod check;
mod closing;
mod configuration;
mod database;
mod fence;
mod held;
mod lease;
mod moved;
mod outage;
mod parked;
mod poison;
mod random_rows;
mod rebase;
mod sequence;
mod signals;
mod silent;
mod status;
mod terminal;
mod upkeep;

use postroom_testkit::{Stack, command};

/// Runs `relay run` until it gives up, with some variables changed; asserts that it says why in
/// one line that shows no password.
async fn refused(stack: &Stack, changes: &[(&str, &str)]) -> String {
    let mut environment = stack.environment();
    environment.extend(
        changes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    let ended = command::relay(&["run"], &environment).await;
    assert_no_password(&ended, &environment);
    ended.error().to_owned()
}

/// Asserts that nothing that was said shows the password of any URL.
fn assert_no_password(ended: &command::Ended, environment: &[(String, String)]) {
    for (name, value) in environment {
        let url: Option<url::Url> = value.parse().ok();
        let Some(password) = url.as_ref().and_then(url::Url::password) else {
            continue;
        };
        for said in [&ended.stdout, &ended.stderr] {
            let hidden = !said.contains(&format!(":{password}@"))
                && (password == "postroom" || !said.contains(password));
            assert!(hidden, "the password of {name} is shown: {said}");
        }
    }
}

/// Asserts that a line says each of these.
#[track_caller]
fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing: {line}");
    }
}
