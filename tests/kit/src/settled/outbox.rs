//! The messages of an outbox, and what its relay has done with each.

use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::place::AtRelay;

/// An outbox.
#[derive(Debug)]
pub(super) struct Outbox {
    /// `amqp.source` of its relay.
    pub(super) source: String,
    pub(super) pool: PgPool,
    /// Only messages above this position.
    pub(super) since: i64,
}

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) source: String,
    pub(super) position: i64,
    pub(super) id: Uuid,
    pub(super) topic: String,
    /// Id of the message whose handler published this one.
    pub(super) causation_id: Option<String>,
    pub(super) at_relay: AtRelay,
}

// One statement, so that message, checkpoint, parked row and dropped row are of one moment. A parked row is a copy that
// may outlast its message. While a rebase is unfinished, no row counts as published.
const MESSAGES: &str = "
WITH c AS (
    SELECT * FROM outbox.checkpoint WHERE lane = 0 ORDER BY id DESC LIMIT 1
), message AS (
    SELECT m.position, m.lane, m.message_id, m.topic, m.headers, m.deliver_after,
           EXISTS (SELECT FROM c WHERE c.anchor IS NULL
                   AND (pg_visible_in_snapshot(m.xid, c.delivered)
                        OR (c.frame IS NOT NULL AND pg_visible_in_snapshot(m.xid, c.frame)
                            AND m.position <= c.watermark))) AS passed
    FROM outbox.message AS m WHERE m.position > $1
    UNION ALL
    SELECT p.position, p.lane, p.message_id, p.topic, p.headers, p.deliver_after, true
    FROM outbox.parked AS p
    WHERE p.position > $1 AND NOT EXISTS (SELECT FROM outbox.message AS m WHERE m.position = p.position)
)
SELECT m.position, m.message_id, m.topic, m.headers ->> 'causation_id' AS causation_id, m.passed,
       CASE WHEN m.deliver_after > clock_timestamp() AND p.detail IS DISTINCT FROM 'discarded'
            THEN m.deliver_after::text END AS waits_until,
       d.reason AS dropped, p.reason AS parked, p.detail, p.attempts
FROM message AS m
LEFT JOIN outbox.dropped AS d ON d.lane = m.lane AND d.position = m.position
LEFT JOIN outbox.parked AS p ON p.position = m.position
ORDER BY m.position";

#[derive(FromRow)]
struct Row {
    position: i64,
    message_id: Uuid,
    topic: String,
    causation_id: Option<String>,
    passed: bool,
    waits_until: Option<String>,
    dropped: Option<String>,
    parked: Option<String>,
    detail: Option<String>,
    attempts: Option<i32>,
}

impl Row {
    fn at_relay(&mut self) -> AtRelay {
        if let Some(reason) = self.dropped.take() {
            return AtRelay::Dropped(reason);
        }
        if let Some(until) = self.waits_until.take() {
            return AtRelay::Scheduled(until);
        }
        match self.parked.take() {
            Some(reason) => AtRelay::Parked {
                reason,
                attempts: self.attempts.unwrap_or(0),
                detail: self.detail.take(),
            },
            None if self.passed => AtRelay::Published,
            None => AtRelay::Waiting,
        }
    }
}

impl Outbox {
    /// Reads the messages, in the order of their positions.
    pub(super) async fn messages(&self) -> sqlx::Result<Vec<Message>> {
        let query = sqlx::query_as(MESSAGES).bind(self.since);
        let rows: Vec<Row> = query.fetch_all(&self.pool).await?;
        let messages = rows.into_iter().map(|mut row| Message {
            at_relay: row.at_relay(),
            source: self.source.clone(),
            position: row.position,
            id: row.message_id,
            topic: row.topic,
            causation_id: row.causation_id,
        });
        Ok(messages.collect())
    }
}

/// Returns the highest position of a committed message, or 0.
pub(super) async fn highest_position(pool: &PgPool) -> sqlx::Result<i64> {
    let query = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM outbox.message");
    query.fetch_one(pool).await
}
