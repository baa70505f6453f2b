//! Pages of `outbox.message`: of a frame, and of the walk after a rebase.

use futures_util::TryStreamExt as _;
use sqlx::{
    PgConnection, Postgres, Row as _, ValueRef as _,
    postgres::{PgArguments, PgRow},
};

use super::{
    message::{self, Texts},
    server::{Look, look_statement},
};
use crate::{
    capture::{Frame, Frontier, Page, Position},
    message::Message,
    publish::Row,
};

/// The rows beyond a frontier that a snapshot sees; the snapshot is what the argument evaluates to.
//
// Two sets, merged by position. Each must be read by its own index and end at the limit, on an
// empty table as on a huge one whose statistics are old:
//  - new rows by (position), the only index that gives the order without a sort;
//  - each straggler's rows by (xid, position): position is compared as part of a row, so the
//    other index has no condition to offer.
// The last condition ends a page once its bodies are large; sizes are known without fetching the
// bodies themselves. A parameter in a query of its own is parsed once instead of once for each row.
macro_rules! rows_seen_by {
    ($snapshot:literal) => {
        concat!(
            "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, q.scheduled, q.expired, q.deliver_after IS NOT NULL AS timed
FROM (
    SELECT f.*, coalesce(f.deliver_after > clock_timestamp(), false) AS scheduled,
           coalesce(f.expires_at <= clock_timestamp(), false) AS expired,
           sum(octet_length(f.payload)) OVER (ORDER BY f.position ROWS UNBOUNDED PRECEDING)
               - octet_length(f.payload) AS bytes_before
    FROM (
        (SELECT m.* FROM outbox.message AS m
         WHERE ((m.position >> 40) & 15) = $1 AND m.position > greatest($2::bigint, $5::bigint)
           AND m.position <= $3 AND m.xid >= (SELECT $6::text::xid8)
           AND pg_visible_in_snapshot(m.xid, (",
            $snapshot,
            ")) AND m.lane = $4
         ORDER BY m.position LIMIT $9)
        UNION ALL
        (SELECT s.* FROM unnest($7::text[], $8::bigint[]) AS r (xid, floor)
         CROSS JOIN LATERAL (
             SELECT m.* FROM outbox.message AS m
             WHERE ((m.position >> 40) & 15) = $1 AND m.xid = r.xid::xid8
               AND (m.xid, m.position) > (r.xid::xid8, greatest($2, r.floor))
               AND (m.xid, m.position) <= (r.xid::xid8, $3) AND m.lane = $4
             ORDER BY m.xid, m.position LIMIT $9) AS s
         WHERE pg_visible_in_snapshot(r.xid::xid8, (",
            $snapshot,
            ")))
        ORDER BY position LIMIT $9
    ) AS f
) AS q
WHERE q.bytes_before < $10
ORDER BY q.position"
        )
    };
}

pub(crate) const FRAME_PAGE: &str = rows_seen_by!("SELECT $11::text::pg_snapshot");

// A look and, in the same moment, what it shows: the statement's own snapshot is the frame's. The look
// is a row before the others; one after them says how far the log is flushed by then.
pub(crate) const LOOK_AND_PAGE: &str = concat!(
    "
WITH look (seen, inserted, flushed, upper, standbys) AS MATERIALIZED (",
    look_statement!(),
    ")
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, look.* FROM look
UNION ALL
SELECT page.*, NULL, NULL, NULL, NULL, NULL FROM (",
    rows_seen_by!("SELECT seen::pg_snapshot FROM look"),
    ") AS page
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, (pg_current_wal_flush_lsn() - '0/0')::bigint, NULL, NULL"
);

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

/// Columns of a message; those of a look follow.
const MESSAGE_COLUMNS: usize = 12;

/// Takes a snapshot and reads the frontier's likely page of it.
pub(crate) async fn look_and_page(
    connection: &mut PgConnection,
    frontier: &Frontier,
    lane: i16,
    limit: PageLimit,
) -> Result<(Look, PageRows), sqlx::Error> {
    let query = sqlx::query(LOOK_AND_PAGE);
    let query = bind(query, frontier, frontier.likely_page(), lane, limit);
    let (mut look, mut flushed): (Option<Look>, i64) = (None, 0);
    let mut rows = Rows::default();
    let mut stream = query.fetch(connection);
    while let Some(row) = stream.try_next().await? {
        if row.try_get_raw(0)?.is_null() {
            match look {
                None => look = Some(Look::read(&row, MESSAGE_COLUMNS)?),
                Some(_) => flushed = row.try_get(MESSAGE_COLUMNS + 2)?,
            }
        } else {
            rows.read(&row)?;
        }
    }
    let mut look = look.ok_or(sqlx::Error::RowNotFound)?;
    look.flushed = look.flushed.max(flushed);
    Ok((look, rows.within(limit)))
}

/// Reads a page of a frame.
pub(crate) async fn page(
    connection: &mut PgConnection,
    frame: &Frame,
    page: Page,
    lane: i16,
    limit: PageLimit,
) -> Result<PageRows, sqlx::Error> {
    let query = if frame.is_walk() {
        sqlx::query(WALK_PAGE)
            .bind(i64::from(page.slot))
            .bind(page.after)
            .bind(page.upto)
            .bind(lane)
            .bind(limit.rows)
            .bind(limit.bytes)
    } else {
        let query = sqlx::query(FRAME_PAGE);
        bind(query, frame.frontier(), page, lane, limit).bind(frame.to().to_string())
    };
    let mut rows = Rows::default();
    let mut stream = query.fetch(connection);
    while let Some(row) = stream.try_next().await? {
        rows.read(&row)?;
    }
    Ok(rows.within(limit))
}

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// Binds the parameters that all pages beyond a frontier have.
fn bind(query: Query, frontier: &Frontier, page: Page, lane: i16, limit: PageLimit) -> Query {
    let stragglers = frontier.stragglers();
    let xids: Vec<String> = stragglers.iter().map(|s| s.xid.to_string()).collect();
    let floors: Vec<Position> = stragglers.iter().map(|s| s.floor).collect();
    query
        .bind(i64::from(page.slot))
        .bind(page.after)
        .bind(page.upto)
        .bind(lane)
        .bind(frontier.new_floor())
        .bind(frontier.new_from().to_string())
        .bind(xids)
        .bind(floors)
        .bind(limit.rows)
        .bind(limit.bytes)
}

/// Rows as they arrive.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row<Message>>,
    texts: Texts,
}

impl Rows {
    fn read(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        self.rows.push(message::read(row, &mut self.texts)?);
        Ok(())
    }

    fn within(self, limit: PageLimit) -> PageRows {
        let rows = self.rows;
        debug_assert!(rows.is_sorted_by_key(|row| row.position));
        let full = limit.is_reached_by(rows.iter());
        PageRows { rows, full }
    }
}
