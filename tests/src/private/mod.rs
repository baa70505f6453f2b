//! Servers of a test's own, to be killed, restarted, promoted and cut off.

mod postgres;
mod process;
mod rabbitmq;

pub use postgres::PgServer;
pub use rabbitmq::RabbitNode;

use std::{net::TcpListener, path::PathBuf};

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A folder that an unprivileged server may use: never below root's home.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from("/var/tmp").join(crate::unique(&format!("postroom_{name}")));
    std::fs::create_dir_all(&folder).expect("making a folder for a server");
    folder
}
