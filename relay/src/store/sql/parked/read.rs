//! Statements that read parked rows, to publish them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use relay_core::{
    capture::Position,
    publish::{Disposition, Hold, KeyRequest, ParkedRow},
};
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};

use crate::store::{
    StoredMessage,
    message::{self, Texts, expires_in},
    page::PageLimit,
    sql,
};

pub(crate) const HELD: &str = "
SELECT h.key, h.topic, bool_or(h.holds = 'key'), bool_or(h.position = h.first AND h.reason = 'behind')
FROM (SELECT p.*, min(p.position) OVER (PARTITION BY p.key) AS first FROM outbox.parked AS p
      WHERE p.lane = $1 AND p.holds <> 'nothing' AND p.key IS NOT NULL) AS h
GROUP BY h.key, h.topic";

pub(crate) const ABOVE: &str =
    "SELECT position FROM outbox.parked WHERE lane = $1 AND position > $2";

// Bounded below too, because rows that were due long ago and are gone or rescheduled leave dead entries in the index.
// Sub-queries read the clock once: a volatile function could not bound the index scan.
//
// A row is left out if an earlier row holds the key and is not due: only that earlier row could be tried, and this
// row would stay due and fill the page. An expired row is always returned, because it is dropped in any case.
pub(crate) const DUE: &str = "
SELECT p.position, p.key, p.holds <> 'nothing' AND p.key IS NOT NULL
FROM outbox.parked AS p
WHERE p.lane = $1 AND p.due_at >= coalesce($2::timestamptz, '-infinity') AND p.due_at <= (SELECT clock_timestamp())
  AND (p.holds = 'nothing' OR p.key IS NULL
       OR p.key <> ALL ($3)
          AND (p.expires_at <= clock_timestamp()
               OR NOT EXISTS (SELECT FROM outbox.parked AS e
                              WHERE e.lane = p.lane AND e.key = p.key AND e.position < p.position
                                AND e.holds = 'key'
                                AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
                                AND (e.reason = 'rejected' OR e.due_at > (SELECT clock_timestamp())))))
ORDER BY p.due_at LIMIT $4";

pub(crate) const BY_POSITION: &str = concat!(
    "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, false, ",
    expires_in!("q"),
    ", q.deliver_after, q.attempts
FROM (SELECT p.*, sum(octet_length(p.payload)) OVER (ORDER BY p.position ROWS UNBOUNDED PRECEDING)
                      - octet_length(p.payload) AS bytes_before
      FROM outbox.parked AS p WHERE p.position = ANY ($1)) AS q
WHERE q.bytes_before < $2
ORDER BY q.position"
);

pub(crate) const BY_KEY: &str = concat!(
    "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, false, ",
    expires_in!("q"),
    ", q.deliver_after, q.attempts
FROM (SELECT f.*, sum(octet_length(f.payload)) OVER (ORDER BY f.position ROWS UNBOUNDED PRECEDING)
                      - octet_length(f.payload) AS bytes_before
      FROM (SELECT p.* FROM outbox.parked AS p
            WHERE p.lane = $1 AND p.key = $2 AND p.holds <> 'nothing' AND p.position > $3
              AND (p.topic <> ALL ($6) OR p.expires_at <= clock_timestamp())
            ORDER BY p.position LIMIT $4) AS f) AS q
WHERE q.bytes_before < $5
ORDER BY q.position"
);

pub(crate) const COUNTS: &str =
    "SELECT reason, count(*) FROM outbox.parked WHERE lane = $1 GROUP BY reason";

/// Longest time that the server counts.
pub(crate) const COUNT_WITHIN: &str = "SET LOCAL statement_timeout = '2s'";

/// Hold of parked rows on one key and topic.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) key: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) hold: Hold,
    /// `true` if its first row is the key's first, and waits for a row that is gone: no other row will release it.
    pub(crate) orphaned: bool,
}

/// A row that is due.
#[derive(Debug)]
pub(crate) enum DueRow {
    /// A row that holds its key: all rows of the key are needed, in order.
    Key(Position, Arc<str>),
    /// A row without a hold, which is tried alone.
    Single(Position),
}

/// Calls `note` for each key and topic that parked rows hold; a callback, because there may be very many.
pub(crate) async fn held(
    connection: &mut PgConnection,
    lane: i16,
    mut note: impl FnMut(Held),
) -> sqlx::Result<()> {
    let mut topics: HashSet<Arc<str>> = HashSet::new();
    let mut rows = sqlx::query(HELD).bind(lane).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let topic: &str = row.try_get(1)?;
        let topic = topics.get(topic).cloned().unwrap_or_else(|| {
            let topic: Arc<str> = topic.into();
            topics.insert(Arc::clone(&topic));
            topic
        });
        note(Held {
            key: row.try_get::<&str, _>(0)?.into(),
            topic,
            hold: if row.try_get(2)? {
                Hold::Key
            } else {
                Hold::Topic
            },
            orphaned: row.try_get(3)?,
        });
    }
    Ok(())
}

pub(crate) async fn above(
    connection: &mut PgConnection,
    lane: i16,
    position: Position,
) -> sqlx::Result<HashSet<Position>> {
    let rows: Vec<Position> = sqlx::query_scalar(ABOVE)
        .bind(lane)
        .bind(position)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Returns the number of rows by reason; `None` if counting takes too long.
pub(crate) async fn count(
    connection: &mut PgConnection,
    lane: i16,
) -> sqlx::Result<Option<HashMap<String, i64>>> {
    let mut tx = connection.begin().await?;
    sqlx::query(COUNT_WITHIN).execute(&mut *tx).await?;
    let counted = sqlx::query_as(COUNTS).bind(lane).fetch_all(&mut *tx).await;
    match counted {
        Ok(counts) => {
            tx.commit().await?;
            Ok(Some(counts.into_iter().collect()))
        }
        // query_canceled
        Err(error) if sql::state(&error).as_deref() == Some("57014") => {
            tx.rollback().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns rows that became due since `after`, except rows of keys that are `known` to be due.
pub(crate) async fn due(
    connection: &mut PgConnection,
    lane: i16,
    after: Option<DateTime<Utc>>,
    known: &[Arc<str>],
    limit: i64,
) -> sqlx::Result<Vec<DueRow>> {
    let rows = sqlx::query(DUE)
        .bind(lane)
        .bind(after)
        .bind(texts(known))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| match row.try_get::<Option<&str>, _>(1)? {
            Some(key) if row.try_get(2)? => Ok(DueRow::Key(row.try_get(0)?, key.into())),
            _ => Ok(DueRow::Single(row.try_get(0)?)),
        })
        .collect()
}

pub(crate) async fn by_position(
    connection: &mut PgConnection,
    positions: &[Position],
    bytes: i64,
) -> sqlx::Result<Vec<ParkedRow<StoredMessage>>> {
    let rows = sqlx::query(BY_POSITION)
        .bind(positions)
        .bind(bytes)
        .fetch_all(connection)
        .await?;
    read_all(&rows)
}

/// Returns the rows that a key request asks for, and `true` if more may follow.
pub(crate) async fn by_key(
    connection: &mut PgConnection,
    lane: i16,
    request: &KeyRequest,
    limit: PageLimit,
) -> sqlx::Result<(Vec<ParkedRow<StoredMessage>>, bool)> {
    let rows = sqlx::query(BY_KEY)
        .bind(lane)
        .bind(&*request.key)
        .bind(request.after)
        .bind(limit.rows)
        .bind(limit.bytes)
        .bind(texts(&request.without))
        .fetch_all(connection)
        .await?;
    let rows = read_all(&rows)?;
    let more = limit.is_reached_by(rows.iter().map(|parked| &parked.row));
    Ok((rows, more))
}

fn texts(of: &[Arc<str>]) -> Vec<&str> {
    of.iter().map(AsRef::as_ref).collect()
}

fn read_all(rows: &[PgRow]) -> sqlx::Result<Vec<ParkedRow<StoredMessage>>> {
    let mut texts = Texts::default();
    rows.iter().map(|row| read(row, &mut texts)).collect()
}

fn read(row: &PgRow, texts: &mut Texts) -> sqlx::Result<ParkedRow<StoredMessage>> {
    let mut message = message::read(row, row.try_get(8)?, texts)?;
    if message.disposition == Disposition::Scheduled {
        message.disposition = Disposition::Due;
    }
    Ok(ParkedRow {
        row: message,
        attempts: row.try_get::<i32, _>(12)? as u32,
    })
}
