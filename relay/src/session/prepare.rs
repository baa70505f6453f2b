//! Preparation of a session: the state that the last session left, and connections to read with.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use relay_core::{
    capture::Position,
    checkpoint::Checkpoint,
    identity::{Identity, Recognised},
    publish::{Backoff, Machine, Settings, TopicPatterns},
    sequence,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::{
    config::Config,
    error::RelayError,
    events,
    health::Reporter,
    store::{
        self, DatabaseError, ParkedReader, Purpose, SameServerProof, StoredMessage, answer,
        checkpoint, message,
        page::PageLimit,
        parked::read::{self, Held},
        segment, server,
    },
};

/// Most rows above the watermarks of all frames together.
const SPAN: usize = 100_000;

/// Interval between reports that the preparation takes long.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Everything that a session begins with.
pub(super) struct Prepared {
    /// Checkpoint at which the last session ended.
    pub(super) start: Checkpoint,
    /// Id of the checkpoint; 0 if none was recorded.
    pub(super) latest: i64,
    /// Parked rows above the position at which reading resumes.
    pub(super) already_parked: HashSet<Position>,
    pub(super) machine: Machine<StoredMessage>,
    pub(super) same_server: SameServerProof,
    pub(super) limit: PageLimit,
    /// Connection of the frame reader.
    pub(super) reading: PgConnection,
    pub(super) parked_reader: ParkedReader,
}

/// Reads the state that the last session left, and connects. If that takes long, reports why.
pub(super) async fn prepare(
    config: &Config,
    connection: &mut PgConnection,
    lane: i16,
    reporter: &Reporter,
) -> Result<Prepared, RelayError> {
    // Reading all parked rows may take long.
    let answer_timeout = config.lease.timeout * 60;
    let preparing = Box::pin(read_and_connect(config, connection, lane));
    let prepared = report_if_slow(reporter, answer::within(answer_timeout, preparing)).await;
    Ok(prepared?)
}

/// Waits for the preparation, and reports slow progress. The database is the cause: the broker has
/// not been asked for anything yet.
async fn report_if_slow<T>(reporter: &Reporter, preparing: impl Future<Output = T>) -> T {
    let (mut preparing, began) = (pin!(preparing), Instant::now());
    loop {
        if let Ok(prepared) = timeout(REPORT_INTERVAL, &mut preparing).await {
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
) -> Result<Prepared, DatabaseError> {
    let identity = server::identity(connection).await?;
    let same_server = SameServerProof {
        lane,
        pid: server::backend_pid(connection).await?,
        every: config.lease.timeout / 4,
        answer_timeout: config.lease.timeout * 6,
    };
    let (latest, start) = starting_point(connection, identity, lane).await?;
    segment::sequence(connection).await?.check()?;
    let known = segment::highest(connection).await?;
    let known = known.max(start.highest_position());
    sequence::check_position(server::look(connection).await?.upper, known)?;
    let machine = machine(config, connection, lane).await?;
    let already_parked = read::above(connection, lane, start.resumes_above()).await?;
    let limit = PageLimit::new(
        i64::from(config.capture.page_rows),
        i64::from(config.capture.page_bytes),
    );
    let connecting = async {
        let proven = async |purpose, name| {
            let mut connection = store::connect(config, purpose, name).await?;
            same_server.prove(&mut connection).await?;
            Ok::<_, DatabaseError>(connection)
        };
        let reading = proven(Purpose::Frames, "postroom-relay reader");
        let parking = proven(Purpose::Reader, "postroom-relay parked");
        tokio::try_join!(reading, parking)
    };
    let (reading, parking) =
        while_keeping_alive(connection, same_server, Box::pin(connecting)).await?;
    let parked_reader = ParkedReader::new(parking, lane, limit, same_server.answer_timeout).await?;
    Ok(Prepared {
        start,
        latest,
        already_parked,
        machine,
        same_server,
        limit,
        reading,
        parked_reader,
    })
}

/// Waits for another future and keeps the lease's connection alive meanwhile: the server would end
/// a silent connection.
async fn while_keeping_alive<T>(
    connection: &mut PgConnection,
    same_server: SameServerProof,
    other: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let mut other = pin!(other);
    loop {
        let waited = timeout(same_server.every, &mut other).await;
        // If the lease's connection is lost, the other future fails too, because the lease is no
        // longer held. The loss is then the error to return.
        if !matches!(waited, Ok(Ok(_))) {
            answer::within(same_server.answer_timeout, connection.ping()).await?;
        }
        if let Ok(done) = waited {
            return done;
        }
    }
}

/// Returns the latest checkpoint and its id, if the checkpoint belongs to this database.
async fn starting_point(
    connection: &mut PgConnection,
    identity: Identity,
    lane: i16,
) -> Result<(i64, Checkpoint), DatabaseError> {
    let Some((id, mut recorded)) = checkpoint::latest(connection, lane).await? else {
        if message::from_ahead(connection).await? {
            return Err(DatabaseError::Foreign);
        }
        return Ok((0, Checkpoint::beginning(identity)));
    };
    let now = server::snapshot(connection).await?;
    match recorded.recognise(&identity, &now) {
        Recognised::Same => {}
        Recognised::Promoted => {
            let (from, to) = (recorded.identity.timeline, identity.timeline);
            events::Promoted { from, to }.emit();
        }
        Recognised::Foreign => return Err(DatabaseError::Foreign),
    }
    recorded.identity = identity;
    Ok((id, recorded))
}

/// Makes a machine that knows the holds of all parked rows, before the first message is published.
async fn machine(
    config: &Config,
    connection: &mut PgConnection,
    lane: i16,
) -> Result<Machine<StoredMessage>, DatabaseError> {
    let mut machine = Machine::new(settings(config));
    let mut orphaned = Vec::new();
    let add_hold = |held: Held| {
        machine.hold(&held.key, &held.topic, held.hold);
        if held.orphaned {
            orphaned.push(held.key);
        }
    };
    read::held(connection, lane, add_hold).await?;
    for key in orphaned {
        machine.retry_key(&key);
    }
    Ok(machine)
}

fn settings(config: &Config) -> Settings {
    Settings {
        window_rows: config.publish.window_rows,
        window_bytes: config.publish.window_bytes,
        key_rows: config.publish.key_rows,
        span: SPAN,
        isolated_batches: (config.amqp.channels / 2).max(1),
        backoff: Backoff::new(config.publish.retry_first, config.publish.retry_longest),
        drop_unroutable: TopicPatterns::new(config.publish.drop_unroutable.clone()),
    }
}
