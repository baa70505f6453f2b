//! Rebase: accepts that the database is another one.
//!
//! The rows of a restored database carry transaction ids of the old server, and positions that are still
//! valid. So everything up to an *anchor* is walked by position, and frames begin above it:
//!
//! 1. Take a snapshot; transactions below its `xmin` have finished ([`plan`]).
//! 2. Read the sequence, which gives the anchor: all rows of those transactions lie at or below it. If rows
//!    came without the sequence, as by logical replication, the sequence is first moved above them
//!    ([`move_sequence`]).
//! 3. Have a transaction id assigned and wait until all lower ones have finished: every row at or below the
//!    anchor is then committed or rolled back.
//! 4. Record a checkpoint: walk to the anchor, then deliver the rows above it that transactions from that
//!    `xmin` on wrote ([`record`]).

use std::time::Duration;

use relay_core::{
    capture::{Floors, Pair, Position, Snapshot},
    checkpoint::Checkpoint,
    identity::{Identity, Recognised},
    sequence,
};
use serde::Serialize;
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use super::ANSWER_TIMEOUT;
use crate::{
    config::Config,
    store::{
        self, DatabaseError, LANE, Purpose, answer, checkpoint, holder, lock, message, segment,
        server,
    },
};

/// Longest time for the server to notice that a relay has ended and to release its lease.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// Interval between looks at locks and transactions.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Wait before the transactions that are waited for are reported.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// Longest time for finding positions that are used twice, which reads the whole table.
const WALK_TIMEOUT: Duration = Duration::from_hours(1);

/// Reason for which the outbox was not rebased.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebaseError {
    /// The database is unusable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A relay is active.
    #[error("a relay holds the lease; stop it first, `relay status` tells where it runs")]
    LeaseHeld,
    /// A session that is no relay holds the lease's lock.
    #[error("{0}")]
    LeaseMisheld(String),
    /// Rows still come from another server.
    #[error(
        "logical replication still brings rows: what comes after a rebase would be lost. Stop the producers there, wait until all has come, then DROP SUBSCRIPTION {} and run this again",
        .0.join(", ")
    )]
    Subscribed(Vec<String>),
    /// The checkpoint is of this database.
    #[error(
        "the checkpoint belongs to this very database: nothing needs a rebase (--force does it all the same)"
    )]
    SameDatabase,
    /// Transactions that began earlier did not end.
    #[error(
        "transactions that began earlier are still open after {after:?}: {open}; end them (pg_terminate_backend, ROLLBACK PREPARED) and run this again"
    )]
    StillOpen {
        /// Time of the wait.
        after: Duration,
        /// Processes and prepared transactions.
        open: String,
    },
    /// Several rows have the same position.
    #[error(
        "{count} positions from {lowest} on are taken twice: messages were written before the sequence was moved beyond copied ones. Write the later ones again (docs/operations.md, \"By hand\") and run this again"
    )]
    TakenTwice {
        /// Number of such positions.
        count: i64,
        /// Lowest of them.
        lowest: Position,
    },
}

/// A rebase that can be carried out. The session holds the lease.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    need: Need,
    /// Position above which messages are published again.
    pub(crate) above: Position,
    /// Move of the sequence of positions; `None` if the sequence is above all rows.
    pub(crate) sequence: Option<SequenceMove>,
    #[serde(skip)]
    identity: Identity,
    #[serde(skip)]
    before: Snapshot,
}

/// Need of a rebase.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Need {
    /// There is no checkpoint, and no row of another database.
    None,
    /// The checkpoint was recorded on this database.
    SameDatabase,
    /// The checkpoint, or the rows if there is no checkpoint, are of another database.
    OtherDatabase,
}

/// Move of a sequence that stands below the highest row.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SequenceMove {
    /// Highest position of a row.
    pub(crate) highest: Position,
    /// New position of the sequence.
    pub(crate) to: Position,
}

/// A completed rebase: the next relay publishes the messages between these positions again.
#[derive(Debug, Serialize)]
pub(crate) struct Rebased {
    pub(crate) above: Position,
    pub(crate) up_to: Position,
}

/// Transactions that a rebase waits for.
#[derive(Debug, Serialize)]
pub(crate) struct Waiting {
    /// Processes and prepared transactions.
    pub(crate) open: Vec<String>,
    /// Seconds until the rebase gives up.
    pub(crate) seconds_left: u64,
}

/// Connects with a session that can hold the lease.
pub(crate) async fn connect(config: &Config) -> Result<PgConnection, DatabaseError> {
    let timeout = Duration::from_mins(1);
    let purpose = Purpose::Lease { timeout };
    let mut connection = store::connect(config, purpose, "postroom-relay rebase").await?;
    answer::within(ANSWER_TIMEOUT, server::limit_lock_wait(&mut connection)).await?;
    Ok(connection)
}

/// Takes the lease and finds what there is to do; `None` if there is nothing. Unless `force` is given, a database on
/// which the checkpoint was recorded is refused.
pub(crate) async fn plan(
    connection: &mut PgConnection,
    force: bool,
) -> Result<Option<Plan>, RebaseError> {
    answer::within(ANSWER_TIMEOUT, outbox::schema::check(connection)).await?;
    let began = Instant::now();
    while !answer::within(ANSWER_TIMEOUT, lock::try_lock(connection, LANE)).await? {
        if began.elapsed() >= RELEASE_WAIT {
            let holders = holder::lease_holders(connection, LANE);
            let holders = answer::within(ANSWER_TIMEOUT, holders).await?;
            let misheld = holder::problem(&holders).map(RebaseError::LeaseMisheld);
            return Err(misheld.unwrap_or(RebaseError::LeaseHeld));
        }
        sleep(LOOK_INTERVAL).await;
    }
    let subscriptions = answer::within(ANSWER_TIMEOUT, server::subscribed(connection)).await?;
    if !subscriptions.is_empty() {
        return Err(RebaseError::Subscribed(subscriptions));
    }
    let plan = answer::within(ANSWER_TIMEOUT, find(connection)).await?;
    match plan.need {
        Need::None => Ok(None),
        Need::SameDatabase if !force => Err(RebaseError::SameDatabase),
        Need::SameDatabase | Need::OtherDatabase => Ok(Some(plan)),
    }
}

/// Finds what a rebase would do.
async fn find(connection: &mut PgConnection) -> sqlx::Result<Plan> {
    let identity = server::identity(connection).await?;
    let before = server::look(connection).await?.snapshot;
    let recorded = checkpoint::latest(connection, LANE).await?;
    let recorded = recorded.map(|(_, recorded)| recorded);
    let highest = segment::highest(connection).await?;
    let next_is_empty = segment::next_is_empty(connection, highest).await?;
    let to = sequence::restart_position(highest, next_is_empty);
    let is_behind = server::look(connection).await?.upper < highest;
    let is_from_ahead = message::from_ahead(connection).await?;
    let recognised = recorded
        .as_ref()
        .map(|recorded| recorded.recognise(&identity, &before));
    Ok(Plan {
        need: match recognised {
            None if !is_behind && !is_from_ahead => Need::None,
            None | Some(Recognised::Foreign) => Need::OtherDatabase,
            Some(Recognised::Same | Recognised::Promoted) => Need::SameDatabase,
        },
        above: recorded.as_ref().map_or(0, Checkpoint::settled_below),
        sequence: is_behind.then_some(SequenceMove { highest, to }),
        identity,
        before,
    })
}

/// Moves the sequence above rows that came without it, so that new rows lie above them.
pub(crate) async fn move_sequence(
    connection: &mut PgConnection,
    sequence: SequenceMove,
) -> Result<(), DatabaseError> {
    answer::within(ANSWER_TIMEOUT, segment::advance(connection, sequence.to)).await
}

/// Waits until every row up to the anchor is committed or rolled back, and records the checkpoint of the rebase.
/// Calls `report` if transactions are still open, again when others are.
pub(crate) async fn record(
    connection: &mut PgConnection,
    plan: &Plan,
    longest_wait: Duration,
    report: impl FnMut(&Waiting),
) -> Result<Rebased, RebaseError> {
    let look = answer::within(ANSWER_TIMEOUT, server::look(connection)).await?;
    let anchor = look.upper;
    let xid = answer::within(ANSWER_TIMEOUT, server::assign_xid(connection)).await?;
    wait_for_older(connection, xid, longest_wait, report).await?;
    let (count, lowest) = answer::within(WALK_TIMEOUT, segment::taken_twice(connection)).await?;
    if count > 0 {
        let lowest = lowest.unwrap_or(0);
        return Err(RebaseError::TakenTwice { count, lowest });
    }
    let rebased = Checkpoint {
        identity: plan.identity,
        delivered: Snapshot::before(plan.before.xmin()),
        unfinished: None,
        walk: Some((anchor, plan.above)),
        // All rows that the frames after the walk may deliver lie above the anchor.
        floors: Floors::from_pairs(vec![Pair {
            xid: 0,
            position: anchor,
        }]),
    };
    let recording = checkpoint::record_alone(connection, LANE, &rebased);
    answer::within(ANSWER_TIMEOUT, recording).await?;
    Ok(Rebased {
        above: plan.above,
        up_to: anchor,
    })
}

/// Waits until the transactions that began before `xid` have ended, and reports them if the wait is long.
async fn wait_for_older(
    connection: &mut PgConnection,
    xid: u64,
    longest: Duration,
    mut report: impl FnMut(&Waiting),
) -> Result<(), RebaseError> {
    let began = Instant::now();
    let mut reported = Vec::new();
    loop {
        let look = answer::within(ANSWER_TIMEOUT, server::look(connection)).await?;
        if look.snapshot.xmin() > xid {
            return Ok(());
        }
        let waited = began.elapsed();
        if waited >= REPORT_AFTER.min(longest) {
            let open = answer::within(ANSWER_TIMEOUT, server::open_before(connection, xid)).await?;
            if waited >= longest {
                let open = match open[..] {
                    // The last transaction has just ended, or is invisible to this user.
                    [] => "see pg_stat_activity and pg_prepared_xacts".to_owned(),
                    _ => open.join(", "),
                };
                let after = longest;
                return Err(RebaseError::StillOpen { after, open });
            }
            if open != reported && !open.is_empty() {
                let seconds_left = longest.saturating_sub(waited).as_secs();
                let waiting = Waiting { open, seconds_left };
                report(&waiting);
                reported = waiting.open;
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
}
