//! One term as the active relay: from taking the lease to losing or giving it up.
//!
//! A session owns everything that may not outlive a connection: snapshots, floors, the machine's
//! memory. After any loss all of it is forgotten, and the next session begins at the durable
//! checkpoint: transaction ids that left no trace on disk are handed out again after a crash, and
//! what was remembered would hide new rows.

mod engine;
mod frames;
mod reports;
mod retries;

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::link::Link,
    capture::{
        PollInterval, Position, Timer,
        reader::{self, Holder, Reader},
    },
    checkpoint::Checkpoint,
    config::Config,
    database::{self, Purpose},
    error::RelayError,
    events,
    health::Reporter,
    identity::{Identity, Recognised},
    lease::{Candidate, Keeper},
    message::Message,
    publish::{Backoff, Machine, Settings, TopicPatterns},
    sequence,
    sql::{checkpoint, page::PageLimit, parked, segment, server},
};
use engine::{Engine, Inputs};
use retries::Retries;

/// Most rows that a frame may hold settled above one that is not.
const SPAN: usize = 100_000;

/// How often to tell that preparing takes long.
const SLOW: Duration = Duration::from_secs(5);

/// Waits, and tells what for if it takes long: the broker has not been asked for anything yet.
async fn telling<T>(reporter: &Reporter, preparing: impl Future<Output = T>) -> T {
    let (mut preparing, began) = (pin!(preparing), Instant::now());
    loop {
        if let Ok(prepared) = timeout(SLOW, &mut preparing).await {
            return prepared;
        }
        let waited = began.elapsed();
        let secs = waited.as_secs();
        reporter.problem(format!(
            "preparing: the database has not answered for {secs} s; who holds locks on tables of the outbox?"
        ));
        events::SlowlyPreparing { waited }.emit();
    }
}

/// Runs one session with a lease that has just been taken. Returns when `shutdown` is cancelled
/// and everything in flight is recorded, or with the error that ended it.
pub(crate) async fn run(
    config: &Config,
    mut candidate: Candidate,
    lane: i16,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<(), RelayError> {
    // Very much may be parked, and is looked through.
    let patience = config.lease.timeout * 60;
    let preparing = Box::pin(prepare(config, &mut candidate.connection, lane));
    let preparing = database::answered(patience, preparing);
    let preparing = telling(reporter, preparing);
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
    let link = Link {
        url: config.amqp_url()?.clone(),
        amqp: config.amqp.clone(),
        fence: start.identity.fence(lane),
        lease_timeout: config.lease.timeout,
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
    let keeping = tokio::spawn(keeper.run(keeper_commands, keeper_events));
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
        frames: frames::Frames::new(start),
        already_parked,
        floors,
        proof,
        to_keeper,
        to_retries,
        reporter: reporter.clone(),
        config: config.clone(),
        work: engine::Work::new(),
    };
    let ended = engine.run(inputs, shutdown).await;

    over.cancel();
    drop(linking.await);
    drop(lease);
    drop(keeping.await);
    drop(reading.await);
    drop(retrying.await);
    ended
}

/// What a session begins with.
struct Prepared {
    /// Where the last session left off, and the id of the checkpoint that says so.
    start: Checkpoint,
    latest: i64,
    already_parked: HashSet<Position>,
    machine: Machine<Message>,
    holder: Holder,
    limit: PageLimit,
    /// Connection of the reader.
    reading: PgConnection,
    retries: Retries,
}

/// Reads what the last session left, and connects.
async fn prepare(
    config: &Config,
    connection: &mut PgConnection,
    lane: i16,
) -> Result<Prepared, RelayError> {
    let url = config.database_url()?;
    let identity = server::identity(connection).await?;
    let holder = Holder {
        lane,
        pid: server::backend_pid(connection).await?,
        every: config.lease.timeout / 4,
        patience: config.lease.timeout * 6,
    };
    let (latest, start) = starting_point(connection, identity, lane).await?;
    segment::sequence(connection).await?.check()?;
    let known = segment::highest(connection).await?;
    let known = known.max(start.highest_position());
    sequence::check_position(server::look(connection).await?.upper, known)?;
    let machine = machine(config, connection, lane).await?;
    let already_parked = parked::above(connection, lane, start.resumes_above()).await?;
    let limit = PageLimit::new(
        i64::from(config.capture.page_rows),
        i64::from(config.capture.page_bytes),
    );
    let mut reading = database::connect(url, Purpose::Frames, "postroom-relay reader").await?;
    reader::prove(&mut reading, holder).await?;
    let mut parking = database::connect(url, Purpose::Reader, "postroom-relay parked").await?;
    reader::prove(&mut parking, holder).await?;
    let retries = Retries::new(parking, lane, limit, holder.patience).await?;
    Ok(Prepared {
        start,
        latest,
        already_parked,
        machine,
        holder,
        limit,
        reading,
        retries,
    })
}

/// Where the last session left off, if this is still its database.
async fn starting_point(
    connection: &mut PgConnection,
    identity: Identity,
    lane: i16,
) -> Result<(i64, Checkpoint), RelayError> {
    let Some((id, recorded)) = checkpoint::latest(connection, lane).await? else {
        return Ok((0, Checkpoint::beginning(identity)));
    };
    match recorded.identity.recognise(&identity) {
        Recognised::Same => {}
        Recognised::Promoted => {
            let (from, to) = (recorded.identity.timeline, identity.timeline);
            events::Promoted { from, to }.emit();
        }
        Recognised::Foreign => return Err(RelayError::Foreign),
    }
    // A checkpoint from this server's future: the server went back to an earlier time.
    if recorded.delivered.xmax() > server::look(connection).await?.snapshot.xmax() {
        return Err(RelayError::Foreign);
    }
    Ok((
        id,
        Checkpoint {
            identity,
            ..recorded
        },
    ))
}

/// A machine that knows what parked rows hold back: before the first message is published.
async fn machine(
    config: &Config,
    connection: &mut PgConnection,
    lane: i16,
) -> Result<Machine<Message>, RelayError> {
    let mut machine = Machine::new(settings(config));
    let mut orphaned = Vec::new();
    for held in parked::held(connection, lane).await? {
        machine.hold(&held.key, &held.topic, held.hold);
        if held.orphaned {
            orphaned.push(held.key);
        }
    }
    for key in orphaned {
        machine.drain(&key);
    }
    Ok(machine)
}

fn settings(config: &Config) -> Settings {
    Settings {
        window_rows: config.publish.window_rows,
        window_bytes: config.publish.window_bytes,
        key_rows: config.publish.key_rows,
        span: SPAN,
        batches_apart: (config.amqp.channels / 2).max(1),
        backoff: Backoff {
            first: config.publish.retry_first,
            longest: config.publish.retry_longest,
        },
        drop_unroutable: TopicPatterns::new(config.publish.drop_unroutable.clone()),
    }
}
