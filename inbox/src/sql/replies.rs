//! Statements on `inbox.reply`, which holds replies to requests.

use std::{fmt, time::Duration};

use sqlx::FromRow;
use statement::Link;
use uuid::Uuid;

use crate::Delivery;

// The first reply counts: whoever waits may have seen it already.
pub(crate) const KEEP: &str = "
INSERT INTO inbox.reply (consumer, request_id, type, version, content_type, payload)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";

pub(crate) const FIND: &str = "
SELECT r.request_id, r.type AS type_name, r.version, r.content_type, r.payload FROM inbox.reply AS r
WHERE r.consumer OPERATOR(pg_catalog.=) $1 AND r.request_id OPERATOR(pg_catalog.=) ANY ($2)";

pub(crate) const EXPIRE: &str = "
DELETE FROM inbox.reply WHERE (consumer, request_id) OPERATOR(pg_catalog.=) ANY (
    SELECT r.consumer, r.request_id FROM inbox.reply AS r
    WHERE r.consumer OPERATOR(pg_catalog.=) $1
      AND r.received_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp()
          OPERATOR(pg_catalog.-) ($2 OPERATOR(pg_catalog.*) interval '1 second'))
    ORDER BY r.received_at LIMIT $3)";

/// A kept reply.
#[derive(Clone, FromRow)]
pub(crate) struct Kept {
    pub(crate) request_id: Uuid,
    pub(crate) type_name: String,
    pub(crate) version: Option<i64>,
    pub(crate) content_type: Option<String>,
    pub(crate) payload: Vec<u8>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("request_id", &self.request_id)
            .field("type_name", &self.type_name)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Keeps a reply if it is the first to its request.
pub(crate) async fn keep(
    link: &mut Link<'_>,
    consumer: &str,
    request: Uuid,
    delivery: &Delivery,
) -> Result<(), sqlx::Error> {
    let message = delivery.message();
    link.query(KEEP)
        .bind(consumer)
        .bind(request)
        .bind(delivery.type_name())
        .bind(message.version.map(i64::from))
        .bind(&message.content_type)
        .bind(delivery.body())
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Returns the replies that are there.
pub(crate) async fn find(
    link: &mut Link<'_>,
    consumer: &str,
    requests: &[Uuid],
) -> Result<Vec<Kept>, sqlx::Error> {
    link.query_as(FIND)
        .bind(consumer)
        .bind(requests)
        .fetch_all(link.connection())
        .await
}

/// Deletes up to `limit` replies that are older than `age`; returns their number.
pub(crate) async fn expire(
    link: &mut Link<'_>,
    consumer: &str,
    age: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let expired = link
        .query(EXPIRE)
        .bind(consumer)
        .bind(age.as_secs_f64())
        .bind(limit)
        .execute(link.connection())
        .await?;
    Ok(expired.rows_affected())
}
