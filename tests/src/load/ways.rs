//! All ways to write messages.

use outbox::{Message, Outbox};
use sqlx::PgConnection;

pub(super) async fn by_library(
    connection: &mut PgConnection,
    key: &str,
    ids: &[uuid::Uuid],
) -> Result<(), sqlx::Error> {
    let messages = ids.iter().map(|&id| {
        let message =
            Message::bytes("load", "application/json", r#"{"by":"library"}"#).expect("a message");
        message.key(key).expect("a key").id(id)
    });
    let published = Outbox::new()
        .publish_all_without_transaction_check(connection, messages)
        .await;
    match published {
        Ok(_) => Ok(()),
        Err(outbox::PublishError::Database(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

pub(super) async fn by_values(
    connection: &mut PgConnection,
    key: &str,
    ids: &[uuid::Uuid],
) -> Result<(), sqlx::Error> {
    for id in ids {
        sqlx::query(
            r#"INSERT INTO outbox.message (message_id, topic, key, type, payload)
             VALUES ($1, 'load', $2, 'load', '{"by":"values"}')"#,
        )
        .bind(id)
        .bind(key)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn by_insert_select(
    connection: &mut PgConnection,
    key: &str,
    ids: &[uuid::Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        r#"INSERT INTO outbox.message (message_id, topic, key, type, payload)
         SELECT l.id, 'load', l.key, 'load', '{"by":"select"}' FROM ledger AS l
         WHERE l.id = ANY ($1) AND l.key = $2 ORDER BY l.place"#,
    )
    .bind(ids)
    .bind(key)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn by_function(
    connection: &mut PgConnection,
    key: &str,
    ids: &[uuid::Uuid],
) -> Result<(), sqlx::Error> {
    for id in ids {
        sqlx::query(
            r#"SELECT outbox.publish('load', '{"by":"function"}', key => $2, message_id => $1)"#,
        )
        .bind(id)
        .bind(key)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn by_copy(
    connection: &mut PgConnection,
    key: &str,
    ids: &[uuid::Uuid],
) -> Result<(), sqlx::Error> {
    let rows: String = ids.iter().fold(String::new(), |rows, id| {
        rows + &format!("{id}\tload\t{key}\tload\t{{\"by\":\"copy\"}}\n")
    });
    let mut copy = connection
        .copy_in_raw("COPY outbox.message (message_id, topic, key, type, payload) FROM STDIN")
        .await?;
    copy.send(rows.as_bytes()).await?;
    copy.finish().await?;
    Ok(())
}
