//! Task that owns the lease's connection.

use std::time::Duration;

use relay_core::{
    checkpoint::Checkpoint,
    publish::PendingWrites,
    session::lease::{Command, Recorded},
};
use sqlx::Connection as _;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{LeaseConnection, upkeep, warnings::Warnings};
use crate::{
    config::Retention,
    store::{DatabaseError, answer, checkpoint, holder, server},
};

/// Checkpoints kept behind the newest, and further ones that may gather before they are trimmed.
const KEPT: i64 = 20;
const TRIM_EVERY: i64 = 100;

/// Records, keeps the lease alive, and rotates the ring of segments.
#[derive(Debug)]
pub(crate) struct LeaseTask {
    lease: LeaseConnection,
    retention: Retention,
    trimmed: i64,
    warnings: Warnings,
    /// `true` while another connection holds the fence at the broker.
    fenced: watch::Receiver<bool>,
}

impl LeaseTask {
    pub(crate) fn new(
        lease: LeaseConnection,
        retention: Retention,
        latest_checkpoint: i64,
        fenced: watch::Receiver<bool>,
    ) -> Self {
        Self {
            lease,
            retention,
            // A relay that was killed may have left older rows.
            trimmed: latest_checkpoint - KEPT - 10 * TRIM_EVERY,
            warnings: Warnings::new(),
            fenced,
        }
    }

    /// Runs until the commands end or the lease is lost. Closing the connection releases the lease.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Result<Recorded, DatabaseError>>,
    ) {
        let mut ping = interval(self.lease.timeout / 4);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked;
            let done = tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { break };
                    asked = self.lease.freshness.now();
                    // A commit may wait for a synchronous standby, so longer than other answers.
                    let answer_timeout = self.lease.timeout * 6;
                    answer::within(answer_timeout, self.execute(command)).await
                }
                Ok(()) = self.fenced.changed() => {
                    asked = self.lease.freshness.now();
                    answer::within(self.lease.timeout, self.name_session()).await
                }
                _ = ping.tick() => {
                    asked = self.lease.freshness.now();
                    let pinged = answer::within(self.lease.timeout, self.lease.connection.ping()).await;
                    pinged.map(|()| None)
                }
            };
            let is_lost = done.is_err();
            if !is_lost {
                self.lease.freshness.renew(asked);
            }
            if let Some(event) = done.transpose()
                && events.send(event).await.is_err()
            {
                break;
            }
            if is_lost {
                return;
            }
        }
        drop(timeout(Duration::from_secs(1), self.lease.connection.close()).await);
    }

    /// Names the session, so that `pg_stat_activity` shows whether the fence keeps this relay from publishing.
    async fn name_session(&mut self) -> sqlx::Result<Option<Recorded>> {
        let is_fenced = *self.fenced.borrow_and_update();
        let state = if is_fenced { holder::FENCED } else { "" };
        let name = format!("{}{state}", self.lease.name);
        server::name_session(&mut self.lease.connection, &name).await?;
        Ok(None)
    }

    async fn execute(&mut self, command: Command) -> Result<Option<Recorded>, DatabaseError> {
        match command {
            Command::Record { checkpoint, write } => {
                let recorded = self.record(&checkpoint, &write).await?;
                self.trim(recorded.id).await?;
                Ok(Some(Recorded {
                    xid: recorded.xid,
                    write,
                    locked: recorded.locked,
                }))
            }
            Command::Maintain { settled_below } => {
                upkeep::maintain(&mut self.lease.connection, &self.retention, settled_below)
                    .await?;
                Ok(None)
            }
        }
    }

    /// Records, and returns when no fail-over to a synchronous standby can take the record back.
    ///
    /// If a commit's wait for standbys is cancelled, the commit succeeds all the same, with no more
    /// than a warning (PostgreSQL's `SyncRepWaitForLSN`).
    async fn record(
        &mut self,
        checkpoint: &Checkpoint,
        write: &PendingWrites,
    ) -> Result<checkpoint::Recorded, DatabaseError> {
        let record = checkpoint::record(
            &mut self.lease.connection,
            self.lease.lane,
            checkpoint,
            write,
        );
        let (recorded, warned) = self.warnings.during(record).await;
        let recorded = recorded?;
        if warned > 0 {
            // A server that runs out of transaction ids sends a warning with each one, and this
            // statement waits for no standby: its warnings are not about replication.
            let assign = server::assign_xid(&mut self.lease.connection);
            let (assigned, usual) = self.warnings.during(assign).await;
            assigned?;
            if warned > usual {
                return Err(DatabaseError::NotReplicated);
            }
        }
        Ok(recorded)
    }

    /// Deletes old checkpoints, without reading the ones deleted before: while an old transaction
    /// keeps these from being vacuumed, reading them would cost more each time.
    async fn trim(&mut self, newest: i64) -> sqlx::Result<()> {
        if newest - self.trimmed >= KEPT + TRIM_EVERY {
            let upto = newest - KEPT;
            checkpoint::trim(
                &mut self.lease.connection,
                self.lease.lane,
                self.trimmed,
                upto,
            )
            .await?;
            self.trimmed = upto;
        }
        Ok(())
    }
}
