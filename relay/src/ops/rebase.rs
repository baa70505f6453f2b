//! `relay rebase`: accepts that the database is another one.
//!
//! The rows of a restored database carry transaction ids of the old server, and positions that are still
//! valid. So everything up to an *anchor* is walked by position, and frames begin above it:
//!
//! 1. Take a snapshot; transactions below its `xmin` have finished.
//! 2. Read the sequence, which gives the anchor: all rows of those transactions lie at or below it. If rows
//!    came without the sequence, as by logical replication, the sequence is first moved above them.
//! 3. Have a transaction id assigned and wait until all lower ones have finished: every row at or below the
//!    anchor is then committed or rolled back.
//! 4. Record a checkpoint: walk to the anchor, then deliver the rows above it that transactions from that
//!    `xmin` on wrote.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::time::{Instant, sleep};

use super::config_args::{ANSWER_TIMEOUT, ConfigArgs, hint, say, set_lock_timeout};
use crate::{
    answer,
    capture::{Floors, Pair, Position, Snapshot},
    checkpoint::Checkpoint,
    database::{self, Purpose},
    identity::{Identity, Recognised},
    lease::LANE,
    sequence,
    sql::{checkpoint, holder, message, segment, server},
};

/// Longest time for the server to notice that a relay has ended and to release its lease.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// Wait before the transactions that are waited for are printed.
const HINT_AFTER: Duration = Duration::from_secs(1);

/// Longest time for finding positions that are used twice, which reads the whole table.
const WALK_TIMEOUT: Duration = Duration::from_hours(1);

/// Options of `relay rebase`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Rebase although the database is the one that the checkpoint was recorded on: everything
    /// retained is published again from the checkpoint's floor on
    #[arg(long)]
    force: bool,
    /// How long to wait for open transactions to end
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(super) async fn run(source: &ConfigArgs, options: &Options) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    let purpose = Purpose::Lease {
        timeout: Duration::from_mins(1),
    };
    let url = config.database_url()?;
    let mut connection = database::connect(url, purpose, "postroom-relay rebase").await?;
    answer::within(ANSWER_TIMEOUT, set_lock_timeout(&mut connection)).await?;
    answer::within(ANSWER_TIMEOUT, outbox::schema::check(&mut connection)).await?;
    let began = Instant::now();
    while !answer::within(ANSWER_TIMEOUT, server::try_lock(&mut connection, LANE)).await? {
        if began.elapsed() >= RELEASE_WAIT {
            let holders = holder::lease_holders(&mut connection, LANE);
            let holders = answer::within(ANSWER_TIMEOUT, holders).await?;
            if let Some(problem) = holder::problem(&holders) {
                bail!(problem);
            }
            bail!("a relay holds the lease; stop it first, `relay status` tells where it runs");
        }
        sleep(Duration::from_millis(50)).await;
    }
    let Found {
        identity,
        before,
        recorded,
        highest,
        is_behind,
        is_from_ahead,
        subscriptions,
    } = answer::within(ANSWER_TIMEOUT, find(&mut connection)).await?;
    if !subscriptions.is_empty() {
        bail!(
            "logical replication still brings rows: what comes after a rebase would be lost. Stop the producers there, wait until all has come, then DROP SUBSCRIPTION {} and run this again",
            subscriptions.join(", ")
        );
    }
    if recorded.is_none() && !is_behind && !is_from_ahead {
        say("nothing to do: no checkpoint is recorded, a relay begins with the first message")?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_same = recorded
        .as_ref()
        .is_some_and(|recorded| recorded.recognise(&identity, &before) != Recognised::Foreign);
    if is_same && !options.force {
        bail!(
            "the checkpoint belongs to this very database: nothing needs a rebase (--force does it all the same)"
        );
    }
    if is_behind {
        advance(&mut connection, highest).await?;
    }
    let look = answer::within(ANSWER_TIMEOUT, server::look(&mut connection));
    let anchor = look.await?.upper;
    let xid = answer::within(ANSWER_TIMEOUT, server::assign_xid(&mut connection)).await?;
    let xid: u64 = xid.parse().context("reading a transaction id")?;
    wait_for_older(&mut connection, xid, options.wait).await?;
    let twice = answer::within(WALK_TIMEOUT, segment::taken_twice(&mut connection));
    let (twice, lowest) = twice.await?;
    if twice > 0 {
        bail!(
            "{twice} positions from {} on are taken twice: messages were written before the sequence was moved beyond copied ones. Write the later ones again (docs/operations.md, \"By hand\") and run this again",
            lowest.unwrap_or(0)
        );
    }
    let done = recorded.map_or(0, |recorded| recorded.settled_below());
    let rebased = Checkpoint {
        identity,
        delivered: Snapshot::before(before.xmin()),
        unfinished: None,
        walk: Some((anchor, done)),
        // All rows that the frames after the walk may deliver lie above the anchor.
        floors: Floors::from_pairs(vec![Pair {
            xid: 0,
            position: anchor,
        }]),
    };
    let record = checkpoint::record_alone(&mut connection, LANE, &rebased);
    answer::within(ANSWER_TIMEOUT, record).await?;
    say(format!(
        "rebased: the next relay publishes what lies above position {done} up to {anchor} again, then goes on"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// State of the database at the beginning of a rebase.
struct Found {
    identity: Identity,
    before: Snapshot,
    recorded: Option<Checkpoint>,
    highest: Position,
    /// `true` if the sequence is below the highest row.
    is_behind: bool,
    /// `true` if there are rows that this server cannot have written.
    is_from_ahead: bool,
    /// Logical replication subscriptions that write rows of the outbox.
    subscriptions: Vec<String>,
}

async fn find(connection: &mut sqlx::PgConnection) -> Result<Found, sqlx::Error> {
    let identity = server::identity(connection).await?;
    let before = server::look(connection).await?.snapshot;
    let recorded = checkpoint::latest(connection, LANE).await?;
    let highest = segment::highest(connection).await?;
    Ok(Found {
        identity,
        before,
        recorded: recorded.map(|(_, recorded)| recorded),
        highest,
        is_behind: server::look(connection).await?.upper < highest,
        is_from_ahead: message::from_ahead(connection).await?,
        subscriptions: server::subscribed(connection).await?,
    })
}

/// Moves the sequence above rows that came without it, so that new rows lie above them.
async fn advance(connection: &mut sqlx::PgConnection, highest: Position) -> anyhow::Result<()> {
    let next_is_empty = segment::next_is_empty(connection, highest);
    let next_is_empty = answer::within(ANSWER_TIMEOUT, next_is_empty).await?;
    let position = sequence::restart_position(highest, next_is_empty);
    answer::within(ANSWER_TIMEOUT, segment::advance(connection, position)).await?;
    say(format!(
        "the sequence outbox.message_position stood below the highest row, {highest}: moved to {position}"
    ))
}

/// Waits until the transactions that began before `xid` have ended, and prints them if the wait is long.
async fn wait_for_older(
    connection: &mut sqlx::PgConnection,
    xid: u64,
    longest: Duration,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut reported = Vec::new();
    while answer::within(ANSWER_TIMEOUT, server::look(connection))
        .await?
        .snapshot
        .xmin()
        <= xid
    {
        let waited = began.elapsed();
        if waited >= HINT_AFTER.min(longest) {
            let open = answer::within(ANSWER_TIMEOUT, server::open_before(connection, xid)).await?;
            let list = match open[..] {
                // The last transaction has just ended, or is invisible to this user.
                [] => "see pg_stat_activity and pg_prepared_xacts".to_owned(),
                _ => open.join(", "),
            };
            if waited >= longest {
                bail!(
                    "transactions that began earlier are still open after {longest:?}: {list}; \
                     end them (pg_terminate_backend, ROLLBACK PREPARED) and run this again"
                );
            }
            if open != reported && !open.is_empty() {
                let left = longest.saturating_sub(waited).as_secs();
                hint(format!(
                    "waiting, at most {left} s, for transactions that began earlier: {list}"
                ))?;
                reported = open;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
