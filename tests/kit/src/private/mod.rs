//! Servers of a test's own, to be killed, restarted, promoted and cut off.

mod certificates;
mod cluster;
mod epmd;
mod namespace;
mod pgbouncer;
mod postgres;
mod process;
mod rabbitmq;
mod volume;

pub use certificates::{Authority, Identity};
pub use cluster::RabbitCluster;
pub use namespace::Namespace;
pub use pgbouncer::PgBouncer;
pub use postgres::PgServer;
pub use process::tree;
pub use rabbitmq::RabbitNode;
pub use volume::Volume;

use std::{
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use rand::Rng as _;

/// Marks of taken ports for other tests, also while no server listens: the UDP ports of the same numbers,
/// bound until the process ends.
static TAKEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A port for this process alone, from below the range that outgoing connections take theirs from.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(10_000..32_000);
        let taken = UdpSocket::bind(("127.0.0.1", port));
        if let (Ok(taken), Ok(_)) = (taken, TcpListener::bind(("127.0.0.1", port))) {
            let mut all = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(taken);
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
