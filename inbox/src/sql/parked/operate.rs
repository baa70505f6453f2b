//! Statements that operators use to list, retry and discard parked deliveries.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use statement::Link;

use super::MessageColumns;

// The client cannot represent an infinite `due_at`, which an operator may have set.
pub(crate) const LIST: &str = "
SELECT p.id, p.state, p.reason, p.holds_key, p.attempts,
       CASE WHEN p.due_at IS NOT NULL
            THEN greatest('0001-01-01', least(p.due_at, '9999-12-31')) END AS due_at,
       p.error, p.parked_at,
       p.message_id, p.source, p.topic, p.key, p.type AS type_name, p.content_type, p.headers,
       p.payload
FROM inbox.parked AS p
WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.id OPERATOR(pg_catalog.>) $2
ORDER BY p.id LIMIT $3";

pub(crate) const RETRY: &str = "
SELECT inbox.retry(p.id) FROM inbox.parked AS p
WHERE (p.consumer, p.id) OPERATOR(pg_catalog.=) ($1, $2)";

pub(crate) const DISCARD: &str = "
SELECT inbox.discard(p.id) FROM inbox.parked AS p
WHERE (p.consumer, p.id) OPERATOR(pg_catalog.=) ($1, $2)";

/// A parked row, as operators see it.
#[derive(Debug, FromRow)]
pub(crate) struct Listed {
    pub(crate) id: i64,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) holds_key: bool,
    pub(crate) attempts: i32,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) error: Option<String>,
    pub(crate) parked_at: DateTime<Utc>,
    #[sqlx(flatten)]
    pub(crate) message: MessageColumns,
}

/// Returns up to `limit` rows with an id above `after`, in the order of their ids.
pub(crate) async fn list(
    link: &mut Link<'_>,
    consumer: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<Listed>, sqlx::Error> {
    link.query_as(LIST)
        .bind(consumer)
        .bind(after)
        .bind(limit)
        .fetch_all(link.connection())
        .await
}

/// Makes a row due at once and resets its attempts; returns `false` if the row does not exist.
pub(crate) async fn retry(
    link: &mut Link<'_>,
    consumer: &str,
    id: i64,
) -> Result<bool, sqlx::Error> {
    flag(link, RETRY, consumer, id).await
}

/// Deletes a row and releases its key; returns `false` if the row does not exist.
pub(crate) async fn discard(
    link: &mut Link<'_>,
    consumer: &str,
    id: i64,
) -> Result<bool, sqlx::Error> {
    flag(link, DISCARD, consumer, id).await
}

async fn flag(
    link: &mut Link<'_>,
    statement: &'static str,
    consumer: &str,
    id: i64,
) -> Result<bool, sqlx::Error> {
    let done: Option<bool> = link
        .query_scalar(statement)
        .bind(consumer)
        .bind(id)
        .fetch_optional(link.connection())
        .await?;
    Ok(done.unwrap_or(false))
}
