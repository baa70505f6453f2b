//! Statements on `outbox.checkpoint`, and on the parked and dropped rows that are recorded together with a checkpoint.

use super::{dropped, server};
use relay_core::{
    capture::{Floors, Pair, Position},
    checkpoint::{Checkpoint, Unfinished},
    identity::Identity,
    publish::{Due, Park, PendingWrites},
};
use sqlx::{
    Connection as _, PgConnection, Postgres, Row as _, postgres::PgArguments, query::QueryAs,
};

pub(crate) const LATEST: &str = "
SELECT id, system_identifier, database_oid, timeline, delivered::text, frame::text, frame_upper,
       watermark, anchor, floor_xids, floor_positions
FROM outbox.checkpoint WHERE lane = $1 ORDER BY id DESC LIMIT 1";

macro_rules! insert_checkpoint {
    () => {
        "
INSERT INTO outbox.checkpoint (lane, system_identifier, database_oid, timeline, delivered, frame,
                               frame_upper, watermark, anchor, floor_xids, floor_positions)
VALUES ($1, $2, $3, $4, $5::text::pg_snapshot, $6::text::pg_snapshot, $7, $8, $9, $10, $11)
RETURNING id, pg_current_xact_id()::text"
    };
    ($skipped:literal) => {
        concat!(insert_checkpoint!(), ", ", $skipped)
    };
}

/// Records a checkpoint alone, the usual case: planning the other statement takes longer than running it.
pub(crate) const RECORD: &str = insert_checkpoint!("NULL::bigint[]");

/// Parked rows to insert, delete and change, in one statement with the checkpoint.
macro_rules! write_parked {
    () => {
        "
WITH parked AS (
    INSERT INTO outbox.parked (position, lane, reason, holds, attempts, due_at, detail, message_id,
                               topic, key, type, content_type, headers, occurred_at, deliver_after,
                               expires_at, payload)
    SELECT m.position, m.lane, p.reason, p.holds, p.attempts,
           CASE WHEN p.scheduled THEN greatest(m.deliver_after, clock_timestamp())
                ELSE clock_timestamp() + p.wait_ms * interval '1 millisecond' END,
           p.detail, m.message_id, m.topic, m.key, m.type, m.content_type, m.headers,
           m.occurred_at, m.deliver_after, m.expires_at, m.payload
    FROM unnest($12::bigint[], $13::text[], $14::text[], $15::integer[], $16::boolean[],
                $17::bigint[], $18::text[])
         AS p (position, reason, holds, attempts, scheduled, wait_ms, detail)
    JOIN outbox.message AS m ON m.position = p.position
                            AND ((m.position >> 40) & 15) = ((p.position >> 40) & 15)
    ON CONFLICT (position) DO NOTHING
), free AS MATERIALIZED (
    SELECT f.position FROM outbox.parked AS f
    WHERE f.position = ANY ($19::bigint[] || $20::bigint[])
    ORDER BY f.position FOR UPDATE SKIP LOCKED
), forgotten AS (
    DELETE FROM outbox.parked
    WHERE position = ANY ($19::bigint[]) AND position IN (SELECT f.position FROM free AS f)
), rescheduled AS (
    UPDATE outbox.parked AS p
    SET reason = r.reason, holds = r.holds, attempts = r.attempts,
        detail = CASE WHEN p.detail = 'discarded' THEN p.detail ELSE r.detail END,
        due_at = CASE WHEN p.expires_at <= clock_timestamp() THEN clock_timestamp()
                      ELSE clock_timestamp() + r.wait_ms * interval '1 millisecond' END
    FROM unnest($20::bigint[], $21::text[], $22::text[], $23::integer[], $24::bigint[],
                $25::text[]) AS r (position, reason, holds, attempts, wait_ms, detail)
    WHERE p.position = r.position AND p.position IN (SELECT f.position FROM free AS f)
)"
    };
}

/// Parked rows that another transaction had locked.
macro_rules! insert_checkpoint_and_return_locked {
    () => {
        insert_checkpoint!(
            "ARRAY (SELECT l.position FROM outbox.parked AS l
       WHERE l.position = ANY ($19::bigint[] || $20::bigint[])
         AND l.position NOT IN (SELECT f.position FROM free AS f))"
        )
    };
}

// One statement, so that a row is parked if and only if the watermark beyond it is recorded. Parked rows that another
// transaction has locked are skipped and returned: waiting for them could cost the relay its lease.
pub(crate) const RECORD_AND_PARK: &str =
    concat!(write_parked!(), insert_checkpoint_and_return_locked!());

/// Records dropped rows too: those of frames from `outbox.message`, parked ones from their copies, since their leaf may
/// have been emptied. A statement of its own, because planning the longer text takes longer.
pub(crate) const RECORD_AND_DROP: &str = concat!(
    write_parked!(),
    ", dropped AS (
    INSERT INTO outbox.dropped (position, lane, message_id, topic, key, reason, slot)
    SELECT m.position, m.lane, m.message_id, m.topic, m.key, d.reason, (m.position >> 40) & 15
    FROM unnest($26::bigint[], $27::text[]) AS d (position, reason)
    JOIN outbox.message AS m ON m.position = d.position
                            AND ((m.position >> 40) & 15) = ((d.position >> 40) & 15)
    UNION ALL
    SELECT p.position, p.lane, p.message_id, p.topic, p.key,
           CASE WHEN p.detail = 'discarded' THEN p.detail ELSE d.reason END, (p.position >> 40) & 15
    FROM unnest($28::bigint[], $29::text[]) AS d (position, reason)
    JOIN outbox.parked AS p ON p.position = d.position
    WHERE p.position IN (SELECT f.position FROM free AS f)
    ON CONFLICT (lane, position, slot) DO NOTHING
)",
    insert_checkpoint_and_return_locked!()
);

pub(crate) const TRIM: &str =
    "DELETE FROM outbox.checkpoint WHERE lane = $1 AND id > $2 AND id <= $3";

pub(crate) const CLEAR: &str = "DELETE FROM outbox.checkpoint WHERE lane = $1";

/// Result of recording a checkpoint.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) id: i64,
    /// Id of the transaction that recorded the checkpoint; assigned after all earlier reads.
    pub(crate) xid: u64,
    /// Parked rows that were left unchanged because another transaction has locked them.
    pub(crate) locked: Vec<Position>,
}

pub(crate) async fn latest(
    connection: &mut PgConnection,
    lane: i16,
) -> sqlx::Result<Option<(i64, Checkpoint)>> {
    let query = sqlx::query(LATEST).bind(lane);
    let Some(row) = query.fetch_optional(connection).await? else {
        return Ok(None);
    };
    let watermark: Option<Position> = row.try_get(7)?;
    let frame: Option<&str> = row.try_get(5)?;
    let unfinished = match (frame, row.try_get(6)?, watermark) {
        (Some(_), Some(upper), Some(watermark)) => Some(Unfinished {
            to: server::read_snapshot(&row, 5)?,
            upper,
            watermark,
        }),
        _ => None,
    };
    let anchor: Option<Position> = row.try_get(8)?;
    let xids: Vec<i64> = row.try_get(9)?;
    let positions: Vec<Position> = row.try_get(10)?;
    let pairs = xids.into_iter().zip(positions);
    let pairs = pairs.map(|(xid, position)| (xid as u64, position));
    let pairs = pairs.map(|(xid, position)| Pair { xid, position });
    let checkpoint = Checkpoint {
        identity: Identity {
            system_identifier: row.try_get(1)?,
            database_oid: row.try_get(2)?,
            timeline: row.try_get(3)?,
        },
        delivered: server::read_snapshot(&row, 4)?,
        unfinished,
        walk: anchor.map(|anchor| (anchor, watermark.unwrap_or(0))),
        floors: Floors::from_pairs(pairs.collect()),
    };
    Ok(Some((row.try_get(0)?, checkpoint)))
}

pub(crate) async fn record(
    connection: &mut PgConnection,
    lane: i16,
    checkpoint: &Checkpoint,
    write: &PendingWrites,
) -> sqlx::Result<Recorded> {
    let unfinished = checkpoint.unfinished.as_ref();
    let (anchor, walked) = checkpoint.walk.unzip();
    let pairs = checkpoint.floors.pairs();
    let alone = write.is_empty();
    let statement = match () {
        () if alone => RECORD,
        () if write.has_drops() => RECORD_AND_DROP,
        () => RECORD_AND_PARK,
    };
    let query = sqlx::query_as(statement)
        .bind(lane)
        .bind(checkpoint.identity.system_identifier)
        .bind(checkpoint.identity.database_oid)
        .bind(checkpoint.identity.timeline)
        .bind(checkpoint.delivered.to_string())
        .bind(unfinished.map(|frame| frame.to.to_string()))
        .bind(unfinished.map(|frame| frame.upper))
        .bind(unfinished.map(|frame| frame.watermark).or(walked))
        .bind(anchor)
        .bind(pairs.iter().map(|pair| pair.xid as i64).collect::<Vec<_>>())
        .bind(pairs.iter().map(|pair| pair.position).collect::<Vec<_>>());
    let query = if alone { query } else { bind(query, write) };
    let query = if write.has_drops() {
        bind_drops(query, write)
    } else {
        query
    };
    let (id, xid, locked) = query.fetch_one(connection).await?;
    Ok(Recorded {
        id,
        xid: server::read_xid(&xid)?,
        locked: locked.unwrap_or_default(),
    })
}

type Query<'q> = QueryAs<'q, Postgres, (i64, String, Option<Vec<Position>>), PgArguments>;

/// Binds the writes that are recorded together with a checkpoint.
fn bind<'q>(query: Query<'q>, write: &'q PendingWrites) -> Query<'q> {
    let (parks, again) = (&write.parks, &write.reschedules);
    query
        .bind(column(parks, |row| row.position))
        .bind(column(parks, |row| row.reason.as_str()))
        .bind(column(parks, |row| row.hold.as_str()))
        .bind(column(parks, |row| row.attempts as i32))
        .bind(column(parks, |row| row.due == Due::AsScheduled))
        .bind(column(parks, wait_ms))
        .bind(column(parks, |row| row.detail.as_deref()))
        .bind(write.forgets.as_slice())
        .bind(column(again, |row| row.position))
        .bind(column(again, |row| row.reason.as_str()))
        .bind(column(again, |row| row.hold.as_str()))
        .bind(column(again, |row| row.attempts as i32))
        .bind(column(again, wait_ms))
        .bind(column(again, |row| row.detail.as_deref()))
}

/// Binds the drops that are recorded together with a checkpoint.
fn bind_drops<'q>(query: Query<'q>, write: &PendingWrites) -> Query<'q> {
    let (positions, reasons) = dropped::columns(&write.drops);
    let query = query.bind(positions).bind(reasons);
    let (positions, reasons) = dropped::columns(&write.parked_drops);
    query.bind(positions).bind(reasons)
}

/// Records a checkpoint as the only one of its lane. Earlier checkpoints are deleted: they may have been copied from
/// another database, with ids above the table's identity column, and a later insert would collide with them. So are the records of drops
/// that the checkpoint has not passed.
pub(crate) async fn record_alone(
    connection: &mut PgConnection,
    lane: i16,
    checkpoint: &Checkpoint,
) -> sqlx::Result<()> {
    let mut tx = connection.begin().await?;
    sqlx::query(CLEAR).bind(lane).execute(&mut *tx).await?;
    let above = checkpoint.walk.map_or(0, |(_, walked)| walked);
    dropped::forget_above(&mut tx, lane, above).await?;
    record(&mut tx, lane, checkpoint, &PendingWrites::default()).await?;
    tx.commit().await
}

pub(crate) async fn trim(
    connection: &mut PgConnection,
    lane: i16,
    above: i64,
    upto: i64,
) -> sqlx::Result<()> {
    let query = sqlx::query(TRIM).bind(lane).bind(above).bind(upto);
    query.execute(connection).await.map(drop)
}

fn column<'a, T>(rows: &'a [Park], value: impl Fn(&'a Park) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn wait_ms(row: &Park) -> Option<i64> {
    match row.due {
        Due::In(wait) => Some(wait.as_millis() as i64),
        Due::AsScheduled | Due::Never => None,
    }
}
