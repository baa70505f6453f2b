//! Statements on `outbox.message`, and the conversion of its rows to messages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use relay_core::{
    capture::Position,
    checkpoint::Unfinished,
    publish::{Disposition, Row},
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    store::{
        PgTimestamp, StoredMessage,
        row_decode::{self, DecodedRow},
    },
    transport::Message,
};

// Counts at most 100,000 rows, so that a huge backlog does not make the statement expensive.
pub(crate) const WAITING: &str = "
SELECT count(*), min(w.occurred_at)
FROM (SELECT m.occurred_at FROM outbox.message AS m
      WHERE m.position > $1 AND m.lane = $2
        AND (m.xid >= $3::text::xid8 OR m.xid = ANY($4::text[]::xid8[]))
      ORDER BY m.position LIMIT 100000) AS w";

// A row that a transaction of this server has written, and that a statement sees, has an xid below the xmax of the
// statement's snapshot.
pub(crate) const FROM_AHEAD: &str = "
SELECT EXISTS (SELECT FROM outbox.message
               WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))";

// Rows that an unfinished frame does not see may also lie below its watermark, and are undelivered. Each sub-query
// reads at most as many rows as are counted at most, however large the table is.
pub(crate) const BELOW: &str = "
SELECT count(*), min(w.occurred_at)
FROM ((SELECT m.position, m.occurred_at FROM outbox.message AS m
       WHERE m.lane = $2 AND m.xid >= $3::text::xid8
       ORDER BY m.xid LIMIT 100000)
      UNION ALL
      (SELECT m.position, m.occurred_at
       FROM unnest($4::text[]::xid8[]) AS r (xid)
       CROSS JOIN LATERAL (SELECT o.position, o.occurred_at FROM outbox.message AS o
                           WHERE o.lane = $2 AND o.xid = r.xid LIMIT 100000) AS m)) AS w
WHERE w.position <= $1";

// Seconds until a row expires. Infinite times are clamped, because they cannot be subtracted.
macro_rules! expires_in {
    ($row:literal) => {
        concat!(
            "CASE WHEN ",
            $row,
            ".expires_at IS NOT NULL
            THEN extract(epoch FROM greatest(least(",
            $row,
            ".expires_at, '9999-12-31'), '0001-01-01') - clock_timestamp())::float8 END"
        )
    };
}
pub(in crate::store::sql) use expires_in;

/// Returns `true` if the table holds rows written by transactions of another server, with ids that this server has
/// not reached yet: no snapshot shows them as committed.
pub(crate) async fn from_ahead(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(FROM_AHEAD).fetch_one(connection).await
}

/// Shares texts that neighbouring rows mostly have in common, so that each is in memory once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    topic: Shared,
    type_name: Shared,
    content_type: Shared,
}

/// The text of the last row, shared by the next row if it is equal.
#[derive(Debug, Default)]
struct Shared(Arc<str>);

impl Shared {
    fn of(&mut self, text: &str) -> Arc<str> {
        if *self.0 != *text {
            self.0 = text.into();
        }
        Arc::clone(&self.0)
    }
}

/// Converts a row whose first twelve columns are those of a page (see `sql::page`); the body is passed apart. No
/// content of the row makes the conversion fail (see [`row_decode`]).
pub(crate) fn read(
    row: &PgRow,
    payload: Vec<u8>,
    texts: &mut Texts,
) -> sqlx::Result<Row<StoredMessage>> {
    // Unchecked: the statements fix the columns and their types, and a check of each value cost more than reading
    // it.
    let position: Position = row.try_get_unchecked(0)?;
    let topic = texts.topic.of(row.try_get_unchecked(2)?);
    let key: Option<Arc<str>> = row.try_get_unchecked::<Option<&str>, _>(3)?.map(Into::into);
    let headers = row.try_get_raw(6)?;
    let DecodedRow {
        headers,
        occurred_at,
        deliver_after,
        unreadable,
    } = row_decode::read(
        headers.as_bytes().map_err(sqlx::Error::Decode)?,
        row.try_get_unchecked(7)?,
        row.try_get_unchecked(11)?,
    );
    let expires_in: Option<f64> = row.try_get_unchecked(10)?;
    let message = StoredMessage {
        message: Message {
            message_id: row.try_get_unchecked(1)?,
            topic: Arc::clone(&topic),
            key: key.clone(),
            type_name: texts.type_name.of(row.try_get_unchecked(4)?),
            content_type: texts.content_type.of(row.try_get_unchecked(5)?),
            headers,
            occurred_at,
            payload,
        },
        deliver_after,
        expires: expires_in.and_then(from_now),
        unreadable,
    };
    let has_expired = expires_in.is_some_and(|seconds| seconds <= 0.0);
    let disposition = match (has_expired, row.try_get_unchecked(9)?) {
        (true, _) => Disposition::Expired,
        // A message that cannot be published does not wait for its scheduled time.
        (false, true) if message.unreadable.is_none() => Disposition::Scheduled,
        (false, _) => Disposition::Due,
    };
    let bytes = message.message.bytes();
    // A message with `deliver_after` is outside the order of its key, also once it is due.
    let key = key.filter(|_| message.deliver_after.is_none());
    Ok(Row {
        position,
        key,
        topic,
        bytes,
        disposition,
        message,
    })
}

/// Converts seconds from now to a time of this machine's monotonic clock.
fn from_now(seconds: f64) -> Option<Instant> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Instant::now().checked_add(wait)
}

/// Returns the number of undelivered rows above a position, up to 100,000, and the time of the oldest.
pub(crate) async fn waiting(
    connection: &mut PgConnection,
    lane: i16,
    above: Position,
    from_xid: u64,
    running: &[u64],
) -> sqlx::Result<(i64, Option<PgTimestamp>)> {
    sqlx::query_as(WAITING)
        .bind(above)
        .bind(lane)
        .bind(from_xid.to_string())
        .bind(running.iter().map(ToString::to_string).collect::<Vec<_>>())
        .fetch_one(connection)
        .await
}

/// Returns the same for rows up to the watermark of an unfinished frame that the frame does not see.
pub(crate) async fn waiting_below(
    connection: &mut PgConnection,
    lane: i16,
    frame: &Unfinished,
) -> sqlx::Result<(i64, Option<PgTimestamp>)> {
    let running = frame.to.running().iter().map(ToString::to_string);
    sqlx::query_as(BELOW)
        .bind(frame.watermark)
        .bind(lane)
        .bind(frame.to.xmax().to_string())
        .bind(running.collect::<Vec<_>>())
        .fetch_one(connection)
        .await
}
