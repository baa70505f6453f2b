//! Statements on `outbox.segment`, the sequence of positions and the ring of leaves: rotation and expiry.

use relay_core::{
    capture::{Position, RING, SEGMENT_BITS, segment_end, segment_of},
    sequence::Settings,
};
use sqlx::PgConnection;

pub(crate) const SEQUENCE: &str = "
SELECT seqcache, seqincrement, seqcycle FROM pg_sequence
WHERE seqrelid = 'outbox.message_position'::regclass";

/// Highest position of a stored row. Parked rows count too: they are copies of rows that may be gone.
pub(crate) const HIGHEST: &str = "
SELECT greatest((SELECT coalesce(max(position), 0) FROM outbox.message),
                (SELECT coalesce(max(position), 0) FROM outbox.parked))";

/// `true` if the leaf with this number holds no row.
pub(crate) const IS_EMPTY: &str =
    "SELECT NOT EXISTS (SELECT FROM outbox.message WHERE ((position >> 40) & 15) = $1)";

// Positions that several rows have: rows were copied without the sequence, and others written at the same positions.
pub(crate) const TAKEN_TWICE: &str = "
SELECT count(*), min(position)
FROM (SELECT position FROM outbox.message GROUP BY position HAVING count(*) > 1) AS twice";

pub(crate) const ADVANCE: &str = "
WITH moved (position) AS (SELECT setval('outbox.message_position', $1, true))
INSERT INTO outbox.segment (segment) SELECT position >> 40 FROM moved ON CONFLICT DO NOTHING";

// Only if the sequence is still in segment `$1`, so that positions never move backwards. The comment at
// `server::LOOK` explains how the sequence is read.
pub(crate) const ROTATE: &str = "
WITH moved AS (
    SELECT setval('outbox.message_position', $2, true)
    FROM outbox.message_position AS s
    WHERE (coalesce(pg_sequence_last_value('outbox.message_position'), s.last_value - 1) >> 40) = $1
)
INSERT INTO outbox.segment (segment) SELECT $1 + 1 FROM moved ON CONFLICT DO NOTHING";

pub(crate) const CURRENT: &str = "
SELECT l.position, extract(epoch FROM clock_timestamp() - g.started_at)::bigint
FROM (SELECT coalesce(pg_sequence_last_value('outbox.message_position'), s.last_value - 1)
      FROM outbox.message_position AS s) AS l (position)
LEFT JOIN outbox.segment AS g ON g.segment = (l.position >> 40)";

// Inserts the missing row of a segment: the segment before was filled to its end, or a relay died between the two
// steps of a rotation. Earlier segments without a row get one too, or their leaves would never be emptied.
pub(crate) const BEGUN: &str = "
INSERT INTO outbox.segment (segment)
SELECT generate_series(greatest($1::bigint - 15, least($1, 1 + coalesce(max(segment), $1 - 1))), $1)
FROM outbox.segment
ON CONFLICT DO NOTHING";

// A segment ended when the next one began. The next one may be gone from the table already: while another session
// uses a leaf, later leaves are still emptied.
pub(crate) const EXPIRABLE: &str = "
SELECT g.segment
FROM (SELECT segment, lead(started_at) OVER (ORDER BY segment) AS left_at
      FROM outbox.segment) AS g
WHERE ((g.segment + 1) << 40) - 1 <= $1
  AND g.left_at < clock_timestamp() - $2 * interval '1 second'
ORDER BY g.segment";

pub(crate) const IS_TAKEN: &str =
    "SELECT EXISTS (SELECT FROM outbox.segment WHERE segment <= $1 AND (segment & 15) = $2)";

pub(crate) const FORGET: &str = "DELETE FROM outbox.segment WHERE segment = $1";

// For the ring's upkeep: no other session waits long behind its lock requests, and the relay does not wait long for
// locks of others.
pub(crate) const LIMIT_LOCK_WAIT: &str = "SET LOCAL lock_timeout = '50ms'";

macro_rules! truncate {
    ($leaf:literal) => {
        concat!(
            "TRUNCATE outbox.message_",
            $leaf,
            ", outbox.dropped_",
            $leaf
        )
    };
}
pub(crate) const TRUNCATE: [&str; RING as usize] = leaves!(truncate);

macro_rules! lock {
    ($leaf:literal) => {
        concat!(
            "LOCK TABLE outbox.message_",
            $leaf,
            ", outbox.dropped_",
            $leaf
        )
    };
}
pub(crate) const LOCK: [&str; RING as usize] = leaves!(lock);

macro_rules! holds_above {
    ($leaf:literal) => {
        concat!(
            "SELECT EXISTS (SELECT FROM outbox.message_",
            $leaf,
            " WHERE position > $1)"
        )
    };
}
pub(crate) const HOLDS_ABOVE: [&str; RING as usize] = leaves!(holds_above);

/// The segment being written, its positions used, and its age in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current {
    pub(crate) segment: i64,
    pub(crate) used: i64,
    /// Seconds since the segment began; `None` if no row records its start.
    pub(crate) age_seconds: Option<i64>,
}

/// Returns the settings of the sequence that hands out positions.
pub(crate) async fn sequence(connection: &mut PgConnection) -> sqlx::Result<Settings> {
    let (cache, increment, cycles) = sqlx::query_as(SEQUENCE).fetch_one(connection).await?;
    Ok(Settings {
        cache,
        increment,
        cycles,
    })
}

/// Returns the highest position of a stored row, or 0.
pub(crate) async fn highest(connection: &mut PgConnection) -> sqlx::Result<Position> {
    sqlx::query_scalar(HIGHEST).fetch_one(connection).await
}

/// Returns `true` if the leaf of the segment after that of `position` holds no row.
pub(crate) async fn next_is_empty(
    connection: &mut PgConnection,
    position: Position,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(IS_EMPTY)
        .bind((segment_of(position) + 1) % RING)
        .fetch_one(connection)
        .await
}

/// Returns the number of positions that more than one row has, and the lowest of them.
pub(crate) async fn taken_twice(
    connection: &mut PgConnection,
) -> sqlx::Result<(i64, Option<Position>)> {
    sqlx::query_as(TAKEN_TWICE).fetch_one(connection).await
}

/// Moves the sequence to a position, as if the position had been handed out.
pub(crate) async fn advance(connection: &mut PgConnection, position: Position) -> sqlx::Result<()> {
    let query = sqlx::query(ADVANCE).bind(position);
    query.execute(connection).await.map(drop)
}

pub(crate) async fn current(connection: &mut PgConnection) -> sqlx::Result<Current> {
    let (last, age_seconds): (Position, Option<i64>) =
        sqlx::query_as(CURRENT).fetch_one(connection).await?;
    let segment = segment_of(last);
    Ok(Current {
        segment,
        used: last - (segment << SEGMENT_BITS),
        age_seconds,
    })
}

/// Records the start of a segment that has begun without a row.
pub(crate) async fn begun(connection: &mut PgConnection, segment: i64) -> sqlx::Result<()> {
    let query = sqlx::query(BEGUN).bind(segment);
    query.execute(connection).await.map(drop)
}

/// Returns the segments that end at or below `settled_below` and ended at least `keep_seconds` ago.
pub(crate) async fn expirable(
    connection: &mut PgConnection,
    settled_below: Position,
    keep_seconds: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(EXPIRABLE)
        .bind(settled_below)
        .bind(keep_seconds)
        .fetch_all(connection)
        .await
}

/// Returns `true` if no earlier segment occupies the leaf of the segment after `segment`.
pub(crate) async fn next_is_free(
    connection: &mut PgConnection,
    segment: i64,
) -> sqlx::Result<bool> {
    let taken: bool = sqlx::query_scalar(IS_TAKEN)
        .bind(segment)
        .bind((segment + 1) % RING)
        .fetch_one(connection)
        .await?;
    Ok(!taken)
}

/// Moves the sequence to the start of the next segment; returns `false` if it has left `segment` already.
pub(crate) async fn rotate(connection: &mut PgConnection, segment: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(ROTATE)
        .bind(segment)
        .bind(segment_end(segment) + 1)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Empties the leaves of a segment and deletes the segment's row. Call it in a transaction with [`LIMIT_LOCK_WAIT`], so
/// that it does not wait for sessions that use either table.
///
/// The leaf may hold a later segment already, which took it without a rotation, if the tables were copied into those
/// of another outbox. Then only the segment's row is deleted: the segment has no rows in the leaf.
pub(crate) async fn expire(connection: &mut PgConnection, segment: i64) -> sqlx::Result<()> {
    let leaf = (segment % RING) as usize;
    // Before the leaf is locked: if another session blocks this statement, no producer waits for the leaf.
    let forget = sqlx::query(FORGET).bind(segment);
    forget.execute(&mut *connection).await?;
    sqlx::query(LOCK[leaf]).execute(&mut *connection).await?;
    let taken: bool = sqlx::query_scalar(HOLDS_ABOVE[leaf])
        .bind(segment_end(segment))
        .fetch_one(&mut *connection)
        .await?;
    if !taken {
        sqlx::query(TRUNCATE[leaf]).execute(connection).await?;
    }
    Ok(())
}
