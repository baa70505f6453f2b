//! Servers and processes for tests: a database and a virtual host for each test, servers of a test's own, real
//! processes, faults, and waiting on conditions.
//!
//! For tests of services: [`Settled`] proves that every message has been handled, and [`published`],
//! [`assert_published`] and [`assert_nothing_else`] compare what was published with what was expected.
//! [`assert_idempotent`] proves that an event has its effect once, [`TestQueue`] delivers events with faults, and
//! [`Bodies`] keeps the bodies that releases have published.
//!
//! Servers come from `scripts/services up`; `make test` exports their URLs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

use std::path::Path;

mod bodies;
mod broker;
pub mod command;
mod database;
mod idempotent;
mod pin;
pub mod private;
mod process;
mod proxy;
mod published;
mod queue;
mod settled;
mod snapshot;
mod tap;
mod user;
mod wait;

pub use bodies::Bodies;
pub use broker::VirtualHost;
pub use database::{Database, Login};
pub use idempotent::assert_idempotent;
pub use pin::Pin;
pub use private::{
    Authority, Identity, Namespace, PgBouncer, PgServer, RabbitCluster, RabbitNode, Volume,
};
pub use process::{RelayProcess, binary};
pub use proxy::{Proxy, Wire};
pub use published::{Expected, assert_nothing_else, assert_published, published};
pub use queue::{TestQueue, TestSubscription};
pub use settled::{Consumer, Settled, SettledError, Settlement, Target, Unsettled};
pub use tap::{Seen, Tap, declare, short};
pub use user::User;
pub use wait::{DEADLINE, eventually, in_time};

/// An environment variable that `scripts/services env` prints.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `scripts/services up`, then `source target/services/env`")
    })
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// A database and a virtual host of one test's own, removed when dropped.
#[derive(Debug)]
pub struct Stack {
    /// The database, migrated.
    pub database: Database,
    /// The virtual host, empty.
    pub broker: VirtualHost,
}

impl Stack {
    /// Makes both.
    pub async fn new() -> Self {
        Self {
            database: Database::new().await,
            broker: VirtualHost::new(),
        }
    }

    /// Makes both on servers of the test's own.
    pub async fn on(postgres: &PgServer, rabbitmq: Option<&RabbitNode>) -> Self {
        let broker = match rabbitmq {
            Some(node) => VirtualHost::new_on(&node.url(), &node.admin_url()),
            None => VirtualHost::new(),
        };
        Self {
            database: Database::new_on(&postgres.url()).await,
            broker,
        }
    }

    /// Starts a relay of another build, without waiting.
    pub fn start_relay_of(&self, binary: &Path, environment: &[(&str, &str)]) -> RelayProcess {
        RelayProcess::start(binary, &self.environment_and(environment))
    }

    /// Starts a relay for them as a process of its own and waits until it is ready.
    pub async fn relay(&self) -> RelayProcess {
        self.relay_with(&[]).await
    }

    /// As [`Stack::relay`], with environment variables on top.
    pub async fn relay_with(&self, environment: &[(&str, &str)]) -> RelayProcess {
        let relay = self.start_relay(environment);
        relay.ready().await;
        relay
    }

    /// As [`Stack::relay_with`], without waiting.
    pub fn start_relay(&self, environment: &[(&str, &str)]) -> RelayProcess {
        self.start_relay_of(&binary("relay"), environment)
    }

    fn environment_and(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let more = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.environment().into_iter().chain(more).collect()
    }

    /// Runs a command of the relay to its end.
    pub async fn command(&self, arguments: &[&str]) -> command::Ended {
        command::relay(arguments, &self.environment()).await
    }

    /// As [`Stack::command`], with environment variables on top.
    pub async fn command_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> command::Ended {
        command::relay(arguments, &self.environment_and(environment)).await
    }

    /// Environment variables that lead a relay here and make it try again soon.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("POSTROOM_DATABASE_URL", self.database.url(Login::Relay)),
            ("POSTROOM_AMQP_URL", self.broker.url()),
            ("POSTROOM_PUBLISH_RETRY_FIRST", "100ms".to_owned()),
            ("POSTROOM_PUBLISH_RETRY_LONGEST", "500ms".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Waits until nothing waits in the outbox and nothing is parked.
    pub async fn delivered(&self) {
        let pool = self.database.pool(Login::Owner).await;
        eventually("the outbox is delivered", async || {
            let status = self.database.undelivered_and_parked(&pool).await;
            status == (0, 0)
        })
        .await;
    }
}
