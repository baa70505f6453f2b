//! `outbox.message`.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use outbox::Headers;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    capture::{Frame, Page, Position},
    message::Message,
    publish::{Disposition, Row},
};

// Two sets, merged by position. Each must be read by its own index and end at the limit, on an
// empty table as on a huge one whose statistics are old:
//  - new rows by (position), the only index that gives the order without a sort;
//  - each straggler's rows by (xid, position): position is compared as part of a row, so the
//    other index has no condition to offer.
// The last condition of the outer query ends a page once its bodies are large; sizes are known
// without fetching the bodies themselves. A parameter in a query of its own is parsed once instead of
// once for each row.
pub(crate) const FRAME_PAGE: &str = "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, q.scheduled, q.expired, q.deliver_after IS NOT NULL
FROM (
    SELECT f.*, coalesce(f.deliver_after > clock_timestamp(), false) AS scheduled,
           coalesce(f.expires_at <= clock_timestamp(), false) AS expired,
           sum(octet_length(f.payload)) OVER (ORDER BY f.position ROWS UNBOUNDED PRECEDING)
               - octet_length(f.payload) AS bytes_before
    FROM (
        (SELECT m.* FROM outbox.message AS m
         WHERE ((m.position >> 40) & 15) = $1 AND m.position > greatest($2::bigint, $5::bigint)
           AND m.position <= $3 AND m.xid >= (SELECT $6::text::xid8)
           AND pg_visible_in_snapshot(m.xid, (SELECT $7::text::pg_snapshot)) AND m.lane = $4
         ORDER BY m.position LIMIT $10)
        UNION ALL
        (SELECT s.* FROM unnest($8::text[], $9::bigint[]) AS r (xid, floor)
         CROSS JOIN LATERAL (
             SELECT m.* FROM outbox.message AS m
             WHERE ((m.position >> 40) & 15) = $1 AND m.xid = r.xid::xid8
               AND (m.xid, m.position) > (r.xid::xid8, greatest($2, r.floor))
               AND (m.xid, m.position) <= (r.xid::xid8, $3) AND m.lane = $4
             ORDER BY m.xid, m.position LIMIT $10) AS s)
        ORDER BY position LIMIT $10
    ) AS f
) AS q
WHERE q.bytes_before < $11
ORDER BY q.position";

pub(crate) const WALK_PAGE: &str = "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, q.scheduled, q.expired, q.deliver_after IS NOT NULL
FROM (
    SELECT f.*, coalesce(f.deliver_after > clock_timestamp(), false) AS scheduled,
           coalesce(f.expires_at <= clock_timestamp(), false) AS expired,
           sum(octet_length(f.payload)) OVER (ORDER BY f.position ROWS UNBOUNDED PRECEDING)
               - octet_length(f.payload) AS bytes_before
    FROM (SELECT m.* FROM outbox.message AS m
          WHERE ((m.position >> 40) & 15) = $1 AND m.position > $2 AND m.position <= $3
            AND m.lane = $4
          ORDER BY m.position LIMIT $5) AS f
) AS q
WHERE q.bytes_before < $6
ORDER BY q.position";

// At most a hundred thousand, so that a huge backlog does not make the question expensive.
pub(crate) const WAITING: &str = "
SELECT count(*), min(w.occurred_at)
FROM (SELECT m.occurred_at FROM outbox.message AS m
      WHERE m.position > $1 AND m.lane = $2
        AND (m.xid >= $3::text::xid8 OR m.xid = ANY($4::text[]::xid8[]))
      ORDER BY m.position LIMIT 100000) AS w";

/// Bounds of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

impl PageLimit {
    /// Whether one of the bounds ended a page, so that more may follow.
    pub(crate) fn is_reached_by<'a>(self, rows: impl Iterator<Item = &'a Row<Message>>) -> bool {
        let (count, bytes) = rows.fold((0, 0), |(count, bytes), row| {
            (count + 1, bytes + row.message.payload.len() as i64)
        });
        count >= self.rows || bytes >= self.bytes
    }
}

/// Rows of a page, and whether more may follow within its bounds.
#[derive(Debug)]
pub(crate) struct PageRows {
    pub(crate) rows: Vec<Row<Message>>,
    pub(crate) full: bool,
}

pub(crate) async fn page(
    connection: &mut PgConnection,
    frame: &Frame,
    page: Page,
    lane: i16,
    limit: PageLimit,
) -> Result<PageRows, sqlx::Error> {
    let mut stream = if frame.is_walk() {
        sqlx::query(WALK_PAGE)
            .bind(i64::from(page.slot))
            .bind(page.after)
            .bind(page.upto)
            .bind(lane)
            .bind(limit.rows)
            .bind(limit.bytes)
            .fetch(connection)
    } else {
        let stragglers = frame.stragglers();
        let xids: Vec<String> = stragglers.iter().map(|s| s.xid.to_string()).collect();
        let floors: Vec<Position> = stragglers.iter().map(|s| s.floor).collect();
        sqlx::query(FRAME_PAGE)
            .bind(i64::from(page.slot))
            .bind(page.after)
            .bind(page.upto)
            .bind(lane)
            .bind(frame.new_floor())
            .bind(frame.new_from().to_string())
            .bind(frame.to().to_string())
            .bind(xids)
            .bind(floors)
            .bind(limit.rows)
            .bind(limit.bytes)
            .fetch(connection)
    };
    let (mut rows, mut texts) = (Vec::new(), Texts::default());
    while let Some(row) = stream.try_next().await? {
        rows.push(read(&row, &mut texts)?);
    }
    let full = limit.is_reached_by(rows.iter());
    Ok(PageRows { rows, full })
}

/// What neighbouring rows mostly have in common, kept in memory once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    topic: Shared,
    type_name: Shared,
    content_type: Shared,
}

/// The last of the texts that it was asked for.
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

/// Reads a row whose first twelve columns are those of [`FRAME_PAGE`].
pub(crate) fn read(row: &PgRow, texts: &mut Texts) -> Result<Row<Message>, sqlx::Error> {
    let position: Position = row.try_get(0)?;
    let topic = texts.topic.of(row.try_get(2)?);
    let key: Option<Arc<str>> = row.try_get::<Option<&str>, _>(3)?.map(Into::into);
    let headers = match row.try_get::<serde_json::Value, _>(6)? {
        serde_json::Value::Object(object) => Headers::from_json(object),
        _ => Headers::new(),
    };
    let message = Message {
        position,
        message_id: row.try_get(1)?,
        topic: Arc::clone(&topic),
        key: key.clone(),
        type_name: texts.type_name.of(row.try_get(4)?),
        content_type: texts.content_type.of(row.try_get(5)?),
        headers,
        occurred_at: row.try_get(7)?,
        payload: row.try_get(8)?,
    };
    let disposition = match (row.try_get(10)?, row.try_get(9)?) {
        (true, _) => Disposition::Expired,
        (false, true) => Disposition::Scheduled,
        (false, false) => Disposition::Due,
    };
    let bytes = message.bytes();
    // A message with a time of its own leaves the order of its key, now and whenever it is read.
    let is_timed: bool = row.try_get(11)?;
    Ok(Row {
        position,
        key: key.filter(|_| !is_timed),
        topic,
        bytes,
        disposition,
        message,
    })
}

/// Number of undelivered rows, up to 100,000, and the time of the oldest.
pub(crate) async fn waiting(
    connection: &mut PgConnection,
    lane: i16,
    above: Position,
    from_xid: u64,
    running: &[u64],
) -> Result<(i64, Option<chrono::DateTime<chrono::Utc>>), sqlx::Error> {
    sqlx::query_as(WAITING)
        .bind(above)
        .bind(lane)
        .bind(from_xid.to_string())
        .bind(running.iter().map(ToString::to_string).collect::<Vec<_>>())
        .fetch_one(connection)
        .await
}
