//! Check that other connections read from the server on which the lease is held.

use std::time::Duration;

use sqlx::PgConnection;

use crate::store::{DatabaseError, answer, lock};

/// The lease's lock, by which another connection proves that it reads from the same server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SameServerProof {
    pub(crate) lane: i16,
    /// Process id of the server's backend that holds the lock.
    pub(crate) pid: i32,
    /// Interval between checks.
    pub(crate) every: Duration,
    /// Longest wait for an answer on such a connection.
    pub(crate) answer_timeout: Duration,
}

impl SameServerProof {
    /// Checks that a connection reads from the primary on which this relay holds the lease.
    pub(crate) async fn prove(self, connection: &mut PgConnection) -> Result<(), DatabaseError> {
        let asking = lock::holds_lock(connection, self.lane, self.pid);
        if answer::within(self.answer_timeout, asking).await? {
            Ok(())
        } else {
            Err(DatabaseError::Elsewhere)
        }
    }
}
