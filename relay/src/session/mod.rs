//! One session as the active relay: from taking the lease to losing or releasing it.
//!
//! A session owns all state that must not outlive a connection: snapshots, floors, the machine's
//! memory. After any loss all of it is forgotten, and the next session begins at the durable
//! checkpoint: after a crash, the database hands out again transaction ids that left no trace on
//! disk, and a remembered snapshot would hide the new rows.

mod engine;
mod prepare;

use std::time::{Duration, Instant};

use relay_core::{
    capture::PollInterval,
    session::{Core, Limits},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::connection::ConnectionTask,
    config::Config,
    error::RelayError,
    health::Reporter,
    store::{LeaseConnection, LeaseTask, Reader, Timer},
    transport::Transport,
};
use engine::{Engine, Inputs};
use prepare::prepare;

/// Longest wait for the lease's connection to be closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs one session with a lease that has just been taken. Returns when `shutdown` is cancelled and
/// everything in flight is recorded, or with the error that ended the session.
pub(crate) async fn run(
    config: &Config,
    transport: impl Transport,
    mut lease: LeaseConnection,
    lane: i16,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    let preparing = prepare(config, &mut lease.connection, lane, reporter);
    let Some(prepared) = shutdown.run_until_cancelled(preparing).await else {
        return Ok(());
    };
    let prepared = prepared?;
    let start = prepared.start;

    // Tasks end when the engine drops its ends of their channels, or when `stop_tasks` is
    // cancelled.
    let stop_tasks = CancellationToken::new();
    let _stop_on_drop = stop_tasks.clone().drop_guard();
    let (floors, floors_receiver) = watch::channel(start.floors.clone());
    let (reader_events, from_reader) = mpsc::channel(2);
    let reader = Reader {
        connection: prepared.reading,
        same_server: prepared.same_server,
        limit: prepared.limit,
        interval: PollInterval::new(config.capture.poll_shortest, config.capture.poll_longest),
        timer: Timer::new(),
        floors: floors_receiver,
        events: reader_events,
    };
    let (to_parked_reader, retry_commands) = mpsc::channel(64);
    let (retry_events, from_parked_reader) = mpsc::channel(4);
    let (to_lease, lease_commands) = mpsc::channel(3);
    let (lease_events, from_lease) = mpsc::channel(4);
    let (connection_events, from_connection) = mpsc::channel(config.amqp.channels * 2 + 8);
    let freshness = lease.freshness.clone();
    let (fenced, fenced_seen) = watch::channel(false);
    let lease_task = LeaseTask::new(
        lease,
        config.retention.clone(),
        prepared.latest,
        fenced_seen,
    );
    let connection = ConnectionTask {
        transport,
        fence: start.identity.fence(lane),
        confirm_timeout: config.amqp.confirm_timeout,
        was_ready: reporter.was_ready(),
        fenced,
    };

    let reader_handle = tokio::spawn(
        stop_tasks
            .clone()
            .run_until_cancelled_owned(reader.run(start.clone())),
    );
    let parked_reader_handle = tokio::spawn(
        stop_tasks
            .clone()
            .run_until_cancelled_owned(prepared.parked_reader.run(retry_commands, retry_events)),
    );
    let mut lease_handle = tokio::spawn(lease_task.run(lease_commands, lease_events));
    let connection_handle = tokio::spawn(connection.run(connection_events, stop_tasks.clone()));

    // The lease is released last: no other relay may publish until the broker's connection is
    // closed.
    let lease = to_lease.clone();
    let inputs = Inputs {
        reader: from_reader,
        parked_reader: from_parked_reader,
        lease_task: from_lease,
        connection: from_connection,
    };
    let limits = Limits {
        batch: config.amqp.batch,
        checkpoint_interval: config.publish.checkpoint_interval,
        lease_timeout: config.lease.timeout,
        drain_timeout: config.lease.drain_timeout,
    };
    let engine = Engine {
        core: Core::new(
            limits,
            prepared.machine,
            start,
            prepared.already_parked,
            Instant::now(),
        ),
        channels: Vec::new(),
        floors,
        freshness,
        to_lease,
        to_parked_reader,
        reporter: reporter.clone(),
        maintenance_interval: config.retention.check_interval,
    };
    let ended = engine.run(inputs, shutdown).await;

    stop_tasks.cancel();
    drop(connection_handle.await);
    drop(lease);
    // The request in progress may take long, as a commit that waits for a standby does.
    if timeout(CLOSE_TIMEOUT, &mut lease_handle).await.is_err() {
        lease_handle.abort();
    }
    drop(reader_handle.await);
    drop(parked_reader_handle.await);
    ended
}
