//! The statements on `outbox.message` that producers run.

use sqlx::PgConnection;

use crate::{Key, Message, PublishError};

pub(crate) const INSERT_ONE: &str = "
INSERT INTO outbox.message (message_id, topic, key, type, content_type, headers, deliver_after,
                            expires_at, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

pub(crate) const INSERT_ALL: &str = "
INSERT INTO outbox.message (message_id, topic, key, type, content_type, headers, deliver_after,
                            expires_at, payload)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[],
                     $7::timestamptz[], $8::timestamptz[], $9::bytea[])";

// Sorted, so that no two calls can wait for each other in a circle.
pub(crate) const LOCK_KEYS: &str = "
SELECT pg_advisory_xact_lock(k.lock)
FROM (SELECT DISTINCT outbox.key_lock(key) AS lock FROM unnest($1::text[]) AS key
      ORDER BY lock OFFSET 0) AS k";

pub(crate) async fn insert_one(
    connection: &mut PgConnection,
    message: Message,
) -> Result<(), PublishError> {
    sqlx::query(INSERT_ONE)
        .bind(message.id.as_uuid())
        .bind(message.topic.as_str())
        .bind(message.key.as_ref().map(Key::as_str))
        .bind(message.type_name.as_str())
        .bind(&message.content_type)
        .bind(message.headers.to_json()?)
        .bind(message.deliver_after)
        .bind(message.expires_at)
        .bind(&message.payload)
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn insert_all(
    connection: &mut PgConnection,
    messages: Vec<Message>,
) -> Result<(), PublishError> {
    let mut headers = Vec::with_capacity(messages.len());
    for message in &messages {
        headers.push(message.headers.to_json()?);
    }
    let column = |text: fn(&Message) -> &str| messages.iter().map(text).collect::<Vec<_>>();
    let ids: Vec<_> = messages.iter().map(|m| m.id.as_uuid()).collect();
    let keys: Vec<_> = messages
        .iter()
        .map(|m| m.key.as_ref().map(Key::as_str))
        .collect();
    let deliver_after: Vec<_> = messages.iter().map(|m| m.deliver_after).collect();
    let expires_at: Vec<_> = messages.iter().map(|m| m.expires_at).collect();
    let payloads: Vec<_> = messages.iter().map(|m| m.payload.as_slice()).collect();
    sqlx::query(INSERT_ALL)
        .bind(ids)
        .bind(column(|m| m.topic.as_str()))
        .bind(keys)
        .bind(column(|m| m.type_name.as_str()))
        .bind(column(|m| m.content_type.as_str()))
        .bind(headers)
        .bind(deliver_after)
        .bind(expires_at)
        .bind(payloads)
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn lock_keys(
    connection: &mut PgConnection,
    keys: &[&str],
) -> Result<(), PublishError> {
    sqlx::query(LOCK_KEYS)
        .bind(keys)
        .execute(connection)
        .await?;
    Ok(())
}
