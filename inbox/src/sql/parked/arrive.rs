//! Statements that park a delivery.

use postroom_message::Incoming;
use serde_json::value::RawValue;
use sqlx::types::Json;
use statement::Link;

use crate::decision::ParkDecision;

// KEY SHARE conflicts with DELETE and with FOR UPDATE, but not with the NO KEY UPDATE lock that the parked
// worker holds while a handler runs. So this statement never waits for a handler.
pub(crate) const LOCK_HOLDER: &str = "
SELECT p.id FROM inbox.parked AS p
WHERE (p.consumer, p.key) OPERATOR(pg_catalog.=) ($1, $2) AND p.holds_key
ORDER BY p.id DESC LIMIT 1 FOR KEY SHARE";

pub(crate) const IS_HELD: &str = "
SELECT EXISTS (SELECT FROM inbox.parked AS p
               WHERE (p.consumer, p.key) OPERATOR(pg_catalog.=) ($1, $2) AND p.holds_key)";

pub(crate) const ANY_HOLDER: &str = "
SELECT EXISTS (SELECT FROM inbox.parked AS p
               WHERE p.consumer OPERATOR(pg_catalog.=) $1
                 AND p.key OPERATOR(pg_catalog.=) ANY ($2) AND p.holds_key)";

pub(crate) const IS_THERE: &str = "
SELECT EXISTS (SELECT FROM inbox.parked AS p
               WHERE (p.consumer, p.message_id) OPERATOR(pg_catalog.=) ($1, $2)
                 AND p.reason OPERATOR(pg_catalog.<>) 'untrusted'
                 AND (p.source OPERATOR(pg_catalog.=) $3
                      OR (p.source IS NULL AND $3::pg_catalog.text IS NULL)))";

pub(crate) const INSERT: &str = "
INSERT INTO inbox.parked (consumer, state, reason, holds_key, attempts, due_at, error, message_id,
                          source, topic, key, type, version, content_type, headers, payload)
VALUES ($1, $2, $3, $4, $5,
        pg_catalog.clock_timestamp()
            OPERATOR(pg_catalog.+) ($6 OPERATOR(pg_catalog.*) interval '1 second'),
        $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

/// Returns `true` if a parked row holds the key, and locks one such row until the transaction ends: no other
/// transaction can delete it, and release the row behind it, before then.
///
/// Without the lock, a row could be inserted behind a row that another transaction deletes at the same moment. No
/// row would then release it, and it would wait for ever.
pub(crate) async fn lock_holder(
    link: &mut Link<'_>,
    consumer: &str,
    key: &str,
) -> Result<bool, sqlx::Error> {
    loop {
        let holder: Option<i64> = link
            .query_scalar(LOCK_HOLDER)
            .bind(consumer)
            .bind(key)
            .fetch_optional(link.connection())
            .await?;
        if holder.is_some() {
            return Ok(true);
        }
        // `None` may mean that the holder was deleted while the statement waited: query again.
        let held: bool = link
            .query_scalar(IS_HELD)
            .bind(consumer)
            .bind(key)
            .fetch_one(link.connection())
            .await?;
        if !held {
            return Ok(false);
        }
    }
}

/// Returns `true` if a parked row holds any of the keys.
pub(crate) async fn any_holder(
    link: &mut Link<'_>,
    consumer: &str,
    keys: &[&str],
) -> Result<bool, sqlx::Error> {
    link.query_scalar(ANY_HOLDER)
        .bind(consumer)
        .bind(keys)
        .fetch_one(link.connection())
        .await
}

/// Returns `true` if the message is parked; an untrusted one with its id does not count. Reads every parked row of the consumer.
pub(crate) async fn is_there(
    link: &mut Link<'_>,
    consumer: &str,
    message_id: &str,
    source: Option<&str>,
) -> Result<bool, sqlx::Error> {
    link.query_scalar(IS_THERE)
        .bind(consumer)
        .bind(message_id)
        .bind(source)
        .fetch_one(link.connection())
        .await
}

/// Parks a message.
pub(crate) async fn insert(
    link: &mut Link<'_>,
    consumer: &str,
    message: &Incoming,
    headers: Box<RawValue>,
    body: &[u8],
    decision: &ParkDecision,
) -> Result<(), sqlx::Error> {
    link.query(INSERT)
        .bind(consumer)
        .bind(decision.state())
        .bind(decision.reason.as_str())
        .bind(decision.holds_key)
        .bind(decision.counted())
        .bind(decision.due_in().map(|wait| wait.as_secs_f64()))
        .bind(&decision.error)
        .bind(&message.message_id)
        .bind(&message.source)
        .bind(&message.topic)
        .bind(&message.key)
        .bind(&message.type_name)
        .bind(message.version.map(i64::from))
        .bind(&message.content_type)
        .bind(Json(headers))
        .bind(body)
        .execute(link.connection())
        .await?;
    Ok(())
}
