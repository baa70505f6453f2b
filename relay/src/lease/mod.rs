//! Being the one active relay of a lane.
//!
//! The lease is a session advisory lock on one dedicated connection, and every record goes through
//! that same connection: a relay that lost the lock can record nothing. The server ends the
//! connection when it falls silent, so a frozen or cut-off holder loses it.

mod keeper;
mod proof;
mod warnings;

use sqlx::PgConnection;

pub(crate) use keeper::{Command, Event, Keeper};
pub(crate) use proof::Proof;

use crate::{
    config::Config,
    database::{self, DatabaseError, Purpose},
    error::RelayError,
    sql::server,
};

/// A connection that may come to hold the lease.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) connection: PgConnection,
    pub(crate) proof: Proof,
    lane: i16,
}

impl Candidate {
    /// Connects, and checks what the lease needs.
    pub(crate) async fn connect(config: &Config, lane: i16) -> Result<Self, RelayError> {
        let purpose = Purpose::Lease {
            timeout: config.lease.timeout,
        };
        let name = format!("postroom-relay lane {lane} {}", whereabouts());
        let mut connection = database::connect(config.database_url()?, purpose, &name).await?;
        outbox::schema::check(&mut connection).await?;
        let proof = Proof::new(config.lease.timeout);
        Ok(Self {
            connection,
            proof,
            lane,
        })
    }

    /// Tries to take the lease; false if another relay holds it.
    pub(crate) async fn try_take(&mut self) -> Result<bool, DatabaseError> {
        let asked = self.proof.now();
        let taken = server::try_lock(&mut self.connection, self.lane).await?;
        if taken {
            self.proof.renew(asked);
        }
        Ok(taken)
    }
}

/// Host and process, for `pg_stat_activity` and `relay status`.
fn whereabouts() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().take(24).collect();
    format!("{host}:{}", std::process::id())
}
