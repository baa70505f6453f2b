//! Mistakes in derived events that the compiler explains.
//!
//! Each file in `ui` is a mistake with its message beside it. After an intended change, `TRYBUILD=overwrite` writes
//! the messages; read their difference.
#![allow(clippy::expect_used, clippy::print_stderr)]

use std::process::Command;

/// The compiler of the messages. Others word the same messages differently.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_are_explained() {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler).arg("--version").output();
    let version = String::from_utf8(version.expect("running rustc").stdout).expect("a version");
    if !version.starts_with(COMPILER) {
        eprintln!(
            "skipped: the messages are those of {COMPILER}x, and this is {}",
            version.trim()
        );
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
