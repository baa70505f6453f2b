//! Task that owns the lease's connection.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{LeaseConnection, LeaseFreshness, upkeep, warnings::Warnings};
use crate::{
    capture::Position,
    checkpoint::Checkpoint,
    config::Retention,
    database::DatabaseError,
    publish::PendingWrites,
    sql::{
        checkpoint::{self, Recorded},
        holder, server,
    },
};

/// Checkpoints kept behind the newest, and further ones that may gather before they are trimmed.
const KEPT: i64 = 20;
const TRIM_EVERY: i64 = 100;

/// A request to the lease task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Record a checkpoint and, in the same statement, everything in `write`.
    Record {
        checkpoint: Box<Checkpoint>,
        write: PendingWrites,
    },
    /// Rotate and expire segments.
    Maintain { settled_below: Position },
}

/// An event of the lease task.
#[derive(Debug)]
pub(crate) enum Event {
    /// A record is durable. The id of its transaction was assigned after the record was requested.
    Recorded {
        /// Id of the transaction.
        xid: u64,
        /// The write, which is recorded except for the `locked` rows.
        write: PendingWrites,
        /// Parked rows that another transaction had locked.
        locked: Vec<Position>,
    },
    /// The lease is lost, or may be.
    Lost(DatabaseError),
}

/// Records, keeps the lease alive, and rotates the ring of segments.
#[derive(Debug)]
pub(crate) struct LeaseTask {
    connection: PgConnection,
    /// Name of the session.
    name: String,
    /// `true` while another connection holds the fence at the broker.
    fenced: watch::Receiver<bool>,
    freshness: LeaseFreshness,
    lane: i16,
    lease_timeout: Duration,
    retention: Retention,
    trimmed: i64,
    warnings: Warnings,
}

impl LeaseTask {
    pub(crate) fn new(
        lease: LeaseConnection,
        lease_timeout: Duration,
        retention: Retention,
        latest_checkpoint: i64,
        fenced: watch::Receiver<bool>,
    ) -> Self {
        let LeaseConnection {
            connection,
            name,
            freshness,
            lane,
            ..
        } = lease;
        // A relay that was killed may have left older rows.
        let trimmed = latest_checkpoint - KEPT - 10 * TRIM_EVERY;
        Self {
            connection,
            name,
            fenced,
            freshness,
            lane,
            lease_timeout,
            retention,
            trimmed,
            warnings: Warnings::new(),
        }
    }

    /// Runs until the commands end or the lease is lost. Closing the connection releases the lease.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        let mut ping = interval(self.lease_timeout / 4);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked;
            let done = tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { break };
                    asked = self.freshness.now();
                    // A commit may wait for a synchronous standby, so longer than other answers.
                    let answer_timeout = self.lease_timeout * 6;
                    let executed = timeout(answer_timeout, self.execute(command)).await;
                    executed.unwrap_or(Err(DatabaseError::Silent(answer_timeout)))
                }
                Ok(()) = self.fenced.changed() => {
                    asked = self.freshness.now();
                    let named = timeout(self.lease_timeout, self.name_session()).await;
                    named.unwrap_or(Err(DatabaseError::Silent(self.lease_timeout)))
                }
                _ = ping.tick() => {
                    asked = self.freshness.now();
                    let answer = timeout(self.lease_timeout, self.connection.ping()).await;
                    match answer {
                        Ok(pinged) => pinged.map(|()| None).map_err(DatabaseError::from),
                        Err(_) => Err(DatabaseError::Silent(self.lease_timeout)),
                    }
                }
            };
            let lost = match done {
                Ok(event) => {
                    self.freshness.renew(asked);
                    if let Some(event) = event
                        && events.send(event).await.is_err()
                    {
                        break;
                    }
                    continue;
                }
                Err(error) => error,
            };
            // If this fails, the session has ended already.
            drop(events.send(Event::Lost(lost)).await);
            return;
        }
        drop(timeout(Duration::from_secs(1), self.connection.close()).await);
    }

    /// Names the session, so that `pg_stat_activity` shows whether the fence keeps this relay from publishing.
    async fn name_session(&mut self) -> Result<Option<Event>, DatabaseError> {
        let is_fenced = *self.fenced.borrow_and_update();
        let state = if is_fenced { holder::FENCED } else { "" };
        let name = format!("{}{state}", self.name);
        server::name_session(&mut self.connection, &name).await?;
        Ok(None)
    }

    async fn execute(&mut self, command: Command) -> Result<Option<Event>, DatabaseError> {
        match command {
            Command::Record { checkpoint, write } => {
                let recorded = self.record(&checkpoint, &write).await?;
                self.trim(recorded.id).await?;
                Ok(Some(Event::Recorded {
                    xid: recorded.xid,
                    write,
                    locked: recorded.locked,
                }))
            }
            Command::Maintain { settled_below } => {
                upkeep::maintain(&mut self.connection, &self.retention, settled_below).await?;
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
    ) -> Result<Recorded, DatabaseError> {
        let record = checkpoint::record(&mut self.connection, self.lane, checkpoint, write);
        let (recorded, warned) = self.warnings.during(record).await;
        let recorded = recorded?;
        if warned > 0 {
            // A server that runs out of transaction ids sends a warning with each one, and this
            // statement waits for no standby: its warnings are not about replication.
            let assign = server::assign_xid(&mut self.connection);
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
    async fn trim(&mut self, newest: i64) -> Result<(), sqlx::Error> {
        if newest - self.trimmed >= KEPT + TRIM_EVERY {
            let upto = newest - KEPT;
            checkpoint::trim(&mut self.connection, self.lane, self.trimmed, upto).await?;
            self.trimmed = upto;
        }
        Ok(())
    }
}
