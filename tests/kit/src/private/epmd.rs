//! Erlang's register of node names, of a test's own.

use std::process::{Command, Stdio};

use super::free_port;

/// The port mapper by which the nodes of one test find each other. The first node starts the port mapper, and the
/// drop of the last node ends it.
#[derive(Debug)]
pub(super) struct Epmd {
    pub(super) port: u16,
}

impl Epmd {
    pub(super) fn new() -> Self {
        Self { port: free_port() }
    }
}

impl Drop for Epmd {
    fn drop(&mut self) {
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &self.port.to_string(), "-kill"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        drop(epmd.status());
    }
}
