//! One term as the active relay: from taking the lease to losing or giving it up.
//!
//! A session owns everything that may not outlive a connection: snapshots, floors, the machine's
//! memory. After any loss all of it is forgotten, and the next session begins at the durable
//! checkpoint: transaction ids that left no trace on disk are handed out again after a crash, and
//! what was remembered would hide new rows.

mod engine;
mod frames;
mod prepare;
mod reports;
mod retries;
mod work;

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{link::Link, open::Target},
    capture::{PollInterval, Timer, reader::Reader},
    config::Config,
    error::RelayError,
    health::Reporter,
    lease::{Candidate, Keeper},
};
use engine::{Engine, Inputs};
use frames::Frames;
use prepare::{Prepared, prepare};
use work::Work;

/// How long to wait for the lease's connection to be closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs one session with a lease that has just been taken. Returns when `shutdown` is cancelled
/// and everything in flight is recorded, or with the error that ended it.
pub(crate) async fn run(
    config: &Config,
    mut candidate: Candidate,
    lane: i16,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    let preparing = prepare(config, &mut candidate.connection, lane, reporter);
    let Some(prepared) = shutdown.run_until_cancelled(preparing).await else {
        return Ok(());
    };
    let Prepared {
        start,
        latest,
        already_parked,
        machine,
        holder,
        limit,
        reading,
        retries,
    } = prepared?;

    // Tasks end when the engine drops its ends of their channels, or at `over`.
    let over = CancellationToken::new();
    let _ends_with_the_session = over.clone().drop_guard();
    let (floors, floors_seen) = watch::channel(start.floors.clone());
    let (reader_events, from_reader) = mpsc::channel(2);
    let reader = Reader {
        connection: reading,
        holder,
        limit,
        interval: PollInterval::new(config.capture.poll_shortest, config.capture.poll_longest),
        timer: Timer::new(),
        floors: floors_seen,
        events: reader_events,
    };
    let (to_retries, retry_commands) = mpsc::channel(64);
    let (retry_events, from_retries) = mpsc::channel(4);
    let (to_keeper, keeper_commands) = mpsc::channel(2);
    let (keeper_events, from_keeper) = mpsc::channel(4);
    let (link_events, from_link) = mpsc::channel(config.amqp.channels * 2 + 8);
    let proof = candidate.proof.clone();
    let keeper = Keeper::new(
        candidate,
        config.lease.timeout,
        config.retention.clone(),
        latest,
    );
    let target = Target {
        url: config.amqp_url()?.clone(),
        amqp: config.amqp.clone(),
        fence: start.identity.fence(lane),
        lease_timeout: config.lease.timeout,
    };
    let link = Link {
        target,
        was_ready: reporter.was_ready(),
    };

    let reading = tokio::spawn(
        over.clone()
            .run_until_cancelled_owned(reader.run(start.clone())),
    );
    let retrying = tokio::spawn(
        over.clone()
            .run_until_cancelled_owned(retries.run(retry_commands, retry_events)),
    );
    let mut keeping = tokio::spawn(keeper.run(keeper_commands, keeper_events));
    let linking = tokio::spawn(link.run(link_events, over.clone()));

    // Until the broker's connection is closed, nobody else may publish: the lease goes last.
    let lease = to_keeper.clone();
    let inputs = Inputs {
        reader: from_reader,
        retries: from_retries,
        keeper: from_keeper,
        link: from_link,
    };
    let engine = Engine {
        machine,
        frames: Frames::new(start),
        already_parked,
        floors,
        proof,
        to_keeper,
        to_retries,
        reporter: reporter.clone(),
        config: config.clone(),
        work: Work::new(),
    };
    let ended = engine.run(inputs, shutdown).await;

    over.cancel();
    drop(linking.await);
    drop(lease);
    // What it has asked for may take long, as a commit that waits for a standby does.
    if timeout(FAREWELL, &mut keeping).await.is_err() {
        keeping.abort();
    }
    drop(reading.await);
    drop(retrying.await);
    ended
}
