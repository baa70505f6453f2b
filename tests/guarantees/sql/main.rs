//! The static statements of library and relay, against a real schema and an unprivileged role.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod plans;
mod prepared;
mod sequence;
mod unprepared;

/// Text of a statement of the relay.
fn statement(name: &str) -> &'static str {
    let mut all = relay::statements::ALL.iter();
    let found = all.find(|(listed, _)| *listed == name);
    found.expect("a listed statement").1
}
