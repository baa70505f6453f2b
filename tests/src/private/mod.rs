//! Servers of a test's own, to be killed, restarted, promoted and cut off.

mod cluster;
mod epmd;
mod namespace;
mod pgbouncer;
mod postgres;
mod process;
mod rabbitmq;
mod volume;

pub use cluster::RabbitCluster;
pub use namespace::Namespace;
pub use pgbouncer::PgBouncer;
pub use postgres::PgServer;
pub use rabbitmq::RabbitNode;
pub use volume::Volume;

use std::{net::TcpListener, path::PathBuf};

use rand::Rng as _;

/// A port that was free a moment ago, from below the range that outgoing connections take theirs
/// from: nothing takes it between this look and its use.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A folder that an unprivileged server may use: never below root's home.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from("/var/tmp").join(crate::unique(&format!("postroom_{name}")));
    std::fs::create_dir_all(&folder).expect("making a folder for a server");
    folder
}
