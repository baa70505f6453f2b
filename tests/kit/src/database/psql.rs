//! psql, by which a database administrator applies the migrations.

use std::process::Command;

pub(super) fn psql(url: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) {
    let output = arguments(&mut psql_command(url))
        .output()
        .expect("running psql");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "psql failed: {said}");
}

pub(super) fn psql_command(url: &str) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", url])
        .env("PGOPTIONS", "-c client_min_messages=warning")
        .env("PGCONNECT_TIMEOUT", "5");
    command
}
