//! SQL statements of producers on `outbox.message`.
//!
//! The statements run in the service's session and with its `search_path`. Another user may have put functions,
//! operators and types of the same names on that path, which PostgreSQL would prefer if they match better. So every
//! function and type is qualified, and every operator is written as `OPERATOR(pg_catalog.…)`. Forms that look up an
//! operator implicitly (`IN`, `LIKE`, `BETWEEN`, `IS DISTINCT FROM`, `NULLIF`, `USING`) are not used. A test asks the
//! server on which objects each statement depends.

use sqlx::{Connection as _, error::DatabaseError};
use statement::Link;

use crate::{Key, Message, PublishError, row::Row};

/// State of a server and session: `true` for a standby, and `on` where transactions only read.
pub(crate) const SERVER_STATE: &str = "
SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'::pg_catalog.text)";

pub(crate) const INSERT_ONE: &str = "
INSERT INTO outbox.message (message_id, topic, key, type, content_type, headers, deliver_after,
                            expires_at, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

pub(crate) const INSERT_ALL: &str = "
INSERT INTO outbox.message (message_id, topic, key, type, content_type, headers, deliver_after,
                            expires_at, payload)
SELECT * FROM ROWS FROM (
    pg_catalog.unnest($1::pg_catalog.uuid[]), pg_catalog.unnest($2::pg_catalog.text[]),
    pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.text[]),
    pg_catalog.unnest($5::pg_catalog.text[]), pg_catalog.unnest($6::pg_catalog.jsonb[]),
    pg_catalog.unnest($7::pg_catalog.timestamptz[]), pg_catalog.unnest($8::pg_catalog.timestamptz[]),
    pg_catalog.unnest($9::pg_catalog.bytea[]))";

// Sorted, so that two calls cannot deadlock.
pub(crate) const LOCK_KEYS: &str = "
SELECT pg_catalog.pg_advisory_xact_lock(k.lock)
FROM (SELECT DISTINCT outbox.key_lock(u.key) AS lock
      FROM pg_catalog.unnest($1::pg_catalog.text[]) AS u (key)
      ORDER BY lock OFFSET 0) AS k";

pub(crate) async fn insert_one(link: &mut Link<'_>, row: Row) -> Result<(), PublishError> {
    let Row { message, headers } = row;
    link.query(INSERT_ONE)
        .bind(message.id.as_uuid())
        .bind(message.topic.as_str())
        .bind(message.key.as_ref().map(Key::as_str))
        .bind(message.type_name.as_str())
        .bind(&message.content_type)
        .bind(headers)
        .bind(message.deliver_after)
        .bind(message.expires_at)
        .bind(&message.payload)
        .execute(link.connection())
        .await?;
    Ok(())
}

pub(crate) async fn insert_all(link: &mut Link<'_>, rows: Vec<Row>) -> Result<(), PublishError> {
    let (messages, headers): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .map(|row| (row.message, row.headers))
        .unzip();
    let column = |text: fn(&Message) -> &str| messages.iter().map(text).collect::<Vec<_>>();
    let ids: Vec<_> = messages.iter().map(|m| m.id.as_uuid()).collect();
    let keys: Vec<_> = messages
        .iter()
        .map(|m| m.key.as_ref().map(Key::as_str))
        .collect();
    let deliver_after: Vec<_> = messages.iter().map(|m| m.deliver_after).collect();
    let expires_at: Vec<_> = messages.iter().map(|m| m.expires_at).collect();
    let payloads: Vec<_> = messages.iter().map(|m| m.payload.as_slice()).collect();
    link.query(INSERT_ALL)
        .bind(ids)
        .bind(column(|m| m.topic.as_str()))
        .bind(keys)
        .bind(column(|m| m.type_name.as_str()))
        .bind(column(|m| m.content_type.as_str()))
        .bind(headers)
        .bind(deliver_after)
        .bind(expires_at)
        .bind(payloads)
        .execute(link.connection())
        .await?;
    Ok(())
}

pub(crate) async fn lock_keys(link: &mut Link<'_>, keys: &[String]) -> Result<(), PublishError> {
    link.query(LOCK_KEYS)
        .bind(keys)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Returns `true` if a transaction is open on the session, also if it was begun in SQL.
pub(crate) async fn in_transaction(link: &mut Link<'_>) -> Result<bool, sqlx::Error> {
    if link.connection().is_in_transaction() {
        return Ok(true);
    }
    // Succeeds and changes nothing if a transaction is open. One request, so that a cancellation cannot leave the
    // savepoint behind.
    let ask = sqlx::raw_sql("SAVEPOINT postroom; RELEASE SAVEPOINT postroom");
    match ask.execute(link.connection()).await {
        Ok(_) => Ok(true),
        Err(error) => {
            let refused = error.as_database_error().and_then(DatabaseError::code);
            match refused.as_deref() {
                // no_active_sql_transaction
                Some("25P01") => Ok(false),
                _ => Err(error),
            }
        }
    }
}
