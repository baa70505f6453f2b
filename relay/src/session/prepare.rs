//! What a session begins with: what the last one left, and connections to read with.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::time::timeout;

use super::retries::Retries;
use crate::{
    capture::Position,
    checkpoint::Checkpoint,
    config::Config,
    database::{self, Purpose},
    error::RelayError,
    events,
    health::Reporter,
    identity::{Identity, Recognised},
    lease::Holder,
    message::Message,
    publish::{Backoff, Machine, Settings, TopicPatterns},
    sequence,
    sql::{checkpoint, page::PageLimit, parked, segment, server},
};

/// Most rows that a frame may hold settled above one that is not.
const SPAN: usize = 100_000;

/// How often to tell that preparing takes long.
const SLOW: Duration = Duration::from_secs(5);

/// What a session begins with.
pub(super) struct Prepared {
    /// Where the last session left off, and the id of the checkpoint that says so.
    pub(super) start: Checkpoint,
    pub(super) latest: i64,
    pub(super) already_parked: HashSet<Position>,
    pub(super) machine: Machine<Message>,
    pub(super) holder: Holder,
    pub(super) limit: PageLimit,
    /// Connection of the reader.
    pub(super) reading: PgConnection,
    pub(super) retries: Retries,
}

/// Reads what the last session left, and connects. Tells what it waits for if that takes long.
pub(super) async fn prepare(
    config: &Config,
    connection: &mut PgConnection,
    lane: i16,
    reporter: &Reporter,
) -> Result<Prepared, RelayError> {
    // Very much may be parked, and is looked through.
    let patience = config.lease.timeout * 60;
    let preparing = Box::pin(read_and_connect(config, connection, lane));
    telling(reporter, database::answered(patience, preparing)).await
}

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

async fn read_and_connect(
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
    holder.prove(&mut reading).await?;
    let mut parking = database::connect(url, Purpose::Reader, "postroom-relay parked").await?;
    holder.prove(&mut parking).await?;
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
