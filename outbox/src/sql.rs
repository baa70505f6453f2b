//! The statements on `outbox.message` that producers run.
//!
//! They run in the service's session and with its `search_path`, on which others may have put functions, operators
//! and types that have the same names and fit better. So every function and type is qualified, and every operator is
//! written as `OPERATOR(pg_catalog.…)`; forms that look an operator up by themselves (`IN`, `LIKE`, `BETWEEN`,
//! `IS DISTINCT FROM`, `NULLIF`, `USING`) are not used. A test asks the server what each statement depends on.

use sqlx::{Connection as _, error::DatabaseError};

use crate::{Key, Message, PublishError, link::Link, row::Row};

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

// Sorted, so that no two calls can wait for each other in a circle.
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

/// Whether a transaction is open, whoever began it.
pub(crate) async fn in_transaction(link: &mut Link<'_>) -> Result<bool, sqlx::Error> {
    if link.connection().is_in_transaction() {
        return Ok(true);
    }
    // Succeeds, and changes nothing, where one is open. In one request, so that it cannot be
    // cancelled in between.
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
