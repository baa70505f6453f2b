//! Lease: makes a process the only active relay of a lane.
//!
//! The lease is a session advisory lock on one dedicated connection, and every record goes through
//! that connection: a relay that lost the lock can record nothing. The server ends the connection
//! when it falls silent, so a relay that is frozen or cut off loses the lock.

mod freshness;
mod same_server;
mod task;
mod upkeep;
mod warnings;

use std::time::Duration;

use sqlx::PgConnection;

pub(crate) use freshness::LeaseFreshness;
pub(crate) use same_server::SameServerProof;
pub(crate) use task::LeaseTask;

use crate::{
    config::Config,
    store::{self, DatabaseError, Purpose, answer, holder, lock, server},
};

/// The lane that a relay serves. There is only one for now; tables and lock are keyed by lane
/// already.
pub(crate) const LANE: i16 = 0;

/// A connection that can take the lease.
#[derive(Debug)]
pub(crate) struct LeaseConnection {
    pub(crate) connection: PgConnection,
    pub(crate) freshness: LeaseFreshness,
    /// Name of its session.
    name: String,
    /// Longest wait for an answer, and silence after which the server ends the session.
    timeout: Duration,
    lane: i16,
}

impl LeaseConnection {
    /// Connects, and checks the schema.
    pub(crate) async fn connect(config: &Config, lane: i16) -> Result<Self, DatabaseError> {
        let timeout = config.lease.timeout;
        let purpose = Purpose::Lease { timeout };
        let name = format!("postroom-relay lane {lane} {}", host_and_process());
        let mut connection = store::connect(config, purpose, &name).await?;
        answer::within(timeout, outbox::schema::check(&mut connection)).await?;
        Ok(Self {
            connection,
            freshness: LeaseFreshness::new(),
            name,
            timeout,
            lane,
        })
    }

    /// Returns the name of the fence that belongs to the lease.
    pub(crate) async fn fence(&mut self) -> Result<String, DatabaseError> {
        let asking = server::identity(&mut self.connection);
        let identity = answer::within(self.timeout, asking).await?;
        Ok(identity.fence(self.lane))
    }

    /// Tries to take the lease; returns `false` if another relay holds it.
    pub(crate) async fn try_take(&mut self) -> Result<bool, DatabaseError> {
        let asked = self.freshness.now();
        let trying = lock::try_lock(&mut self.connection, self.lane);
        let taken = answer::within(self.timeout, trying).await?;
        if taken {
            self.freshness.renew(asked);
        }
        Ok(taken)
    }

    /// Returns the problem if the session that holds the lease is no relay.
    pub(crate) async fn holder_problem(&mut self) -> Result<Option<String>, DatabaseError> {
        let asking = holder::lease_holders(&mut self.connection, self.lane);
        let holders = answer::within(self.timeout, asking).await?;
        Ok(holder::problem(&holders))
    }
}

/// Host and process id, for `pg_stat_activity` and `relay status`.
fn host_and_process() -> String {
    let host: String = host().chars().take(24).collect();
    format!("{host}:{}", std::process::id())
}

#[cfg(target_os = "linux")]
fn host() -> String {
    // Read from the kernel, not from /proc, which a service manager may hide.
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

#[cfg(not(target_os = "linux"))]
fn host() -> String {
    std::env::var("HOSTNAME").unwrap_or_default()
}
