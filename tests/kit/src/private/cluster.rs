//! A RabbitMQ cluster of a test's own.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{RabbitNode, epmd::Epmd};

/// Held while a cluster exists: two at once would starve each other.
static ONE: Mutex<()> = Mutex::new(());

/// Three RabbitMQ nodes that know each other; ended and removed when dropped. One at a time in a process.
#[derive(Debug)]
pub struct RabbitCluster {
    /// The nodes, each to be killed and resumed by itself.
    pub nodes: [RabbitNode; 3],
    /// Dropped after the nodes.
    _one: MutexGuard<'static, ()>,
}

impl RabbitCluster {
    /// Makes and starts one.
    #[allow(clippy::new_without_default)]
    pub fn start() -> Self {
        // Poisoned by a test that failed.
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let epmd = Arc::new(Epmd::new());
        let nodes = [(); 3].map(|()| RabbitNode::make(&epmd));
        let mut peers = "cluster_formation.peer_discovery_backend = classic_config\n".to_owned();
        for (number, node) in (1..).zip(&nodes) {
            let name = &node.name;
            writeln!(
                peers,
                "cluster_formation.classic_config.nodes.{number} = {name}"
            )
            .expect("writing to a string");
        }
        for node in &nodes {
            node.configure(&peers);
            share_cookie(node, &nodes[0].name);
        }
        let mut this = Self { nodes, _one: one };
        // At the same time: since 4.0 a node waits for those that it is to find.
        this.resume();
        this.await_all();
        this
    }

    /// Starts all nodes that are down, at the same time: some wait for others on their way up.
    pub fn resume(&mut self) {
        thread::scope(|scope| {
            for node in self.nodes.iter_mut().filter(|node| !node.is_up()) {
                scope.spawn(|| node.resume());
            }
        });
    }

    /// Waits until each sees all.
    fn await_all(&self) {
        let began = Instant::now();
        while self.nodes.iter().any(|node| running(node) != Some(3)) {
            let failed = began.elapsed() > Duration::from_secs(30);
            assert!(!failed, "the nodes do not find each other");
            #[allow(clippy::disallowed_methods)] // Set-up, before any runtime is at work.
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Number of nodes that one sees running; none while it cannot tell.
fn running(node: &RabbitNode) -> Option<usize> {
    let url = format!("{}/api/nodes", node.admin_url());
    let mut answer = ureq::get(url).call().ok()?;
    let nodes: serde_json::Value = answer.body_mut().read_json().ok()?;
    let running = |node: &&serde_json::Value| node["running"] == true;
    Some(nodes.as_array()?.iter().filter(running).count())
}

/// Nodes speak to each other if they know the same secret, which only they may read.
fn share_cookie(node: &RabbitNode, secret: &str) {
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o400)
        .open(node.folder.join(".erlang.cookie"))
        .expect("making a cookie");
    let letters: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
    file.write_all(letters.as_bytes())
        .expect("writing a cookie");
}
