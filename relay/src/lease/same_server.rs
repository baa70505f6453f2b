//! Who holds the lease.

use std::time::Duration;

use sqlx::PgConnection;

use crate::{answer, error::RelayError, sql::server};

/// Where the lease is held, for proving that another connection reads from the same server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SameServerProof {
    pub(crate) lane: i16,
    pub(crate) pid: i32,
    /// How often to prove it.
    pub(crate) every: Duration,
    /// Longest wait for an answer on such a connection.
    pub(crate) answer_timeout: Duration,
}

impl SameServerProof {
    /// Checks that a connection reads from the primary on which this relay holds the lease.
    pub(crate) async fn prove(self, connection: &mut PgConnection) -> Result<(), RelayError> {
        let asking = server::holds_lock(connection, self.lane, self.pid);
        if answer::within(self.answer_timeout, asking).await? {
            Ok(())
        } else {
            Err(RelayError::Elsewhere)
        }
    }
}
