//! The servers that everything is measured on.

use support::{PgServer, RabbitNode, Stack};

/// Commits are durable; nothing large happens on the side.
const SETTINGS: &str = "
fsync = on
synchronous_commit = on
shared_buffers = 1GB
max_wal_size = 8GB
checkpoint_timeout = 30min
autovacuum = off";

/// A private PostgreSQL and a private RabbitMQ; ended when dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) postgres: PgServer,
    pub(crate) rabbitmq: RabbitNode,
}

impl Servers {
    pub(crate) fn start() -> anyhow::Result<Self> {
        anyhow::ensure!(
            support::binary("relay").exists(),
            "the relay is not built: cargo build --release -p postroom-relay"
        );
        crate::tell("starting PostgreSQL and RabbitMQ");
        Ok(Self {
            postgres: PgServer::start_with(SETTINGS),
            rabbitmq: RabbitNode::start(),
        })
    }

    /// A stack on another PostgreSQL: an open transaction is seen by every database of a server.
    pub(crate) async fn apart(&self) -> (Stack, PgServer) {
        let postgres = PgServer::start_with(SETTINGS);
        let stack = Stack::on(&postgres, Some(&self.rabbitmq)).await;
        (stack, postgres)
    }

    /// A migrated database and a virtual host of their own.
    pub(crate) async fn stack(&self) -> Stack {
        Stack::on(&self.postgres, Some(&self.rabbitmq)).await
    }
}
