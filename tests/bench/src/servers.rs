//! Servers on which everything is measured.

use postroom_testkit::{PgServer, RabbitNode, Stack};

/// Settings with durable commits and without large background work.
const SETTINGS: &str = "
fsync = on
synchronous_commit = on
shared_buffers = 1GB
max_wal_size = 8GB
checkpoint_timeout = 30min
autovacuum = off";

/// A private PostgreSQL and a private RabbitMQ; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) postgres: PgServer,
    pub(crate) rabbitmq: RabbitNode,
}

impl Servers {
    pub(crate) fn start() -> anyhow::Result<Self> {
        anyhow::ensure!(
            postroom_testkit::binary("relay").exists(),
            "the relay is not built: cargo build --release -p postroom-relay"
        );
        crate::progress("starting PostgreSQL and RabbitMQ");
        Ok(Self {
            postgres: PgServer::start_with(SETTINGS),
            rabbitmq: RabbitNode::start(),
        })
    }

    /// Makes a stack on a separate PostgreSQL: an open transaction affects every database of its server.
    pub(crate) async fn separate(&self) -> (Stack, PgServer) {
        let postgres = PgServer::start_with(SETTINGS);
        let stack = Stack::on(&postgres, Some(&self.rabbitmq)).await;
        (stack, postgres)
    }

    /// Makes a stack: a new migrated database and a new virtual host.
    pub(crate) async fn stack(&self) -> Stack {
        Stack::on(&self.postgres, Some(&self.rabbitmq)).await
    }
}
