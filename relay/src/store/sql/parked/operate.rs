//! Statements of operators.

use relay_core::{capture::Position, publish::Reason};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{FromRow, PgConnection};

use crate::store::PgTimestamp;

pub(crate) const BY_REASON: &str = "
SELECT reason, count(*) AS messages, min(occurred_at) AS oldest, min(due_at) AS next_due
FROM outbox.parked WHERE lane = $1
GROUP BY reason ORDER BY reason";

pub(crate) const BLOCKED: &str = "
SELECT key, count(*) AS messages, min(position) AS first_position FROM outbox.parked
WHERE lane = $1 AND holds <> 'nothing' AND key IS NOT NULL
GROUP BY key ORDER BY 2 DESC, 1 LIMIT 20";

pub(crate) const LIST: &str = "
SELECT position, reason, attempts, due_at, topic, key, message_id::text, detail
FROM outbox.parked
WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR key = $2)
ORDER BY position LIMIT $3";

pub(crate) const SHOW: &str = "
SELECT jsonb_pretty(to_jsonb(p) - 'payload'
                    || jsonb_build_object('payload', outbox.payload_as_json(payload, content_type)))
FROM outbox.parked AS p WHERE position = $1";

// Of a key, only the first row is made due: the others follow in order. If they were due too, they would
// stay due for as long as the first row fails.
pub(crate) const RETRY: &str = "
WITH chosen AS (
    SELECT p.position, p.lane, p.key, p.holds <> 'nothing' AND p.key IS NOT NULL AS waits
    FROM outbox.parked AS p
    WHERE (p.position = ANY ($1) OR p.reason = $2) AND p.detail IS DISTINCT FROM 'discarded'
), due AS (
    UPDATE outbox.parked SET due_at = clock_timestamp()
    WHERE position IN (SELECT c.position FROM chosen AS c WHERE NOT c.waits)
       OR position IN (SELECT min(p.position) FROM outbox.parked AS p
                       WHERE (p.lane, p.key) IN (SELECT c.lane, c.key FROM chosen AS c WHERE c.waits)
                         AND p.holds <> 'nothing'
                       GROUP BY p.lane, p.key)
)
SELECT count(*) FROM chosen";

// The row is not deleted here: as long as its frame may be read again, only the parked row records that the
// message is settled. If the row holds its key, the relay goes on with the rows behind it only after it has
// processed the row itself. The relay drops the row as expired.
pub(crate) const DISCARD: &str = "
WITH marked AS (
    UPDATE outbox.parked
    SET due_at = clock_timestamp(), expires_at = clock_timestamp(), detail = 'discarded'
    WHERE (position = ANY ($1) OR reason = $2) AND detail IS DISTINCT FROM 'discarded' RETURNING 1
)
SELECT count(*) FROM marked";

/// Parked messages with the same reason.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct ReasonCount {
    pub(crate) reason: String,
    pub(crate) messages: i64,
    /// Time at which the oldest of them was written.
    pub(crate) oldest: PgTimestamp,
    /// Time of the next attempt; `None` if none is planned.
    pub(crate) next_due: Option<PgTimestamp>,
}

/// A key that parked messages hold.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct BlockedKey {
    pub(crate) key: String,
    pub(crate) messages: i64,
    pub(crate) first_position: Position,
}

/// A parked message, without headers and body.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct ParkedMessage {
    pub(crate) position: Position,
    pub(crate) reason: String,
    pub(crate) attempts: i32,
    pub(crate) due_at: Option<PgTimestamp>,
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) message_id: String,
    pub(crate) detail: Option<String>,
}

/// Conditions on listed messages.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) reason: Option<Reason>,
    pub(crate) key: Option<String>,
    /// Largest number of messages.
    pub(crate) limit: i64,
}

/// Messages at some positions, and all messages with a reason.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) positions: Vec<Position>,
    pub(crate) reason: Option<Reason>,
}

/// Returns the number of messages by reason.
pub(crate) async fn by_reason(
    connection: &mut PgConnection,
    lane: i16,
) -> sqlx::Result<Vec<ReasonCount>> {
    let query = sqlx::query_as(BY_REASON).bind(lane);
    query.fetch_all(connection).await
}

/// Returns the held keys with the most messages.
pub(crate) async fn blocked(
    connection: &mut PgConnection,
    lane: i16,
) -> sqlx::Result<Vec<BlockedKey>> {
    let query = sqlx::query_as(BLOCKED).bind(lane);
    query.fetch_all(connection).await
}

pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
) -> sqlx::Result<Vec<ParkedMessage>> {
    sqlx::query_as(LIST)
        .bind(filter.reason.map(Reason::as_str))
        .bind(&filter.key)
        .bind(filter.limit)
        .fetch_all(connection)
        .await
}

/// Returns a message with its headers and body as a JSON document; `None` if none is parked at the position.
pub(crate) async fn show(
    connection: &mut PgConnection,
    position: Position,
) -> sqlx::Result<Option<Box<RawValue>>> {
    let shown: Option<String> = sqlx::query_scalar(SHOW)
        .bind(position)
        .fetch_optional(connection)
        .await?;
    let document = shown.map(RawValue::from_string).transpose();
    document.map_err(|invalid| sqlx::Error::Decode(Box::new(invalid)))
}

/// Marks the selected messages by [`RETRY`] or [`DISCARD`]; returns their number.
pub(crate) async fn mark(
    connection: &mut PgConnection,
    statement: &'static str,
    selection: &Selection,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(statement)
        .bind(&selection.positions)
        .bind(selection.reason.map(Reason::as_str))
        .fetch_one(connection)
        .await
}
