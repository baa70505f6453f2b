//! Each role can do what it is for, and nothing else.

use outbox::{Message, Outbox};
use postroom_testkit::{Database, Login};
use sqlx::{AssertSqlSafe, PgConnection};

/// Asserts that each statement is refused for want of a privilege.
async fn assert_denied(connection: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        let sql = AssertSqlSafe((*statement).to_owned());
        let refused = sqlx::query(sql).execute(&mut *connection).await;
        let code = refused.err().and_then(|error| {
            let error = error.into_database_error()?;
            error.code().map(std::borrow::Cow::into_owned)
        });
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
}

async fn count(database: &Database) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM outbox.message")
        .fetch_one(&mut database.connect(Login::Relay).await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_producer_publishes_by_library_function_and_plain_insert() {
    let database = Database::new().await;
    let pool = database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let message = Message::bytes("t", "text/plain", "library").unwrap();
    let outbox = Outbox::new();
    outbox.publish(&mut tx, message.clone()).await.unwrap();
    let keyed = message.key("k").unwrap().serialize_key();
    outbox.publish_all(&mut tx, [keyed]).await.unwrap();
    for sql in [
        "SELECT outbox.publish('t', '{}', key => 'k', serialize_key => true)",
        "SELECT outbox.publish_bytes('t', 'x', 'text/plain')",
        "INSERT INTO outbox.message (message_id, topic, type, payload)
         VALUES (outbox.uuid_v7(), 't', 't', 'x')",
        "INSERT INTO outbox.message (message_id, topic, key, type, content_type, headers,
                                     occurred_at, deliver_after, expires_at, payload)
         SELECT outbox.uuid_v7(), 't', 'k', 't', 'text/plain', '{}', now(), now(), now(), 'x'",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(count(&database).await, 6);
}

#[tokio::test]
async fn trap_a_producer_sets_no_position_and_writes_no_leaf() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    let row = "message_id, topic, type, payload) SELECT";
    let values = "outbox.uuid_v7(), 't', 't', 'x'";
    let with = |target: &str, value: &str| format!("INSERT INTO {target}{row} {value}{values}");
    let statements = [
        with("outbox.message (position, ", "1, "),
        with("outbox.message (xid, ", "'1'::xid8, "),
        with("outbox.message (lane, ", "0, "),
        with("outbox.message_00 (", ""),
        with("outbox.message_15 (", ""),
        "SELECT setval('outbox.message_position', 1)".to_owned(),
    ];
    assert_denied(&mut producer, &statements.each_ref().map(String::as_str)).await;
    assert_eq!(count(&database).await, 0);
}

#[tokio::test]
async fn a_producer_reads_and_changes_nothing() {
    let database = Database::new().await;
    let statements = [
        "SELECT topic FROM outbox.message",
        "SELECT topic FROM outbox.readable",
        "INSERT INTO outbox.message (message_id, topic, type, payload)
         VALUES (outbox.uuid_v7(), 't', 't', 'x') RETURNING position",
        "UPDATE outbox.message SET topic = 'u'",
        "DELETE FROM outbox.message",
        "TRUNCATE outbox.message",
        "TRUNCATE outbox.message_00",
        "SELECT id FROM outbox.checkpoint",
        "DELETE FROM outbox.checkpoint",
        "SELECT position FROM outbox.parked",
        "INSERT INTO outbox.migration VALUES (9, 'mine')",
        "DELETE FROM outbox.segment",
    ];
    for login in [Login::Producer, Login::Consumer] {
        let mut connection = database.connect(login).await;
        assert_denied(&mut connection, &statements).await;
    }
    let mut producer = database.connect(Login::Producer).await;
    assert_denied(&mut producer, &["SELECT consumer FROM inbox.processed"]).await;
}

#[tokio::test]
async fn execute_on_the_function_is_all_that_a_producer_needs() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    sqlx::raw_sql(
        "REVOKE ALL ON outbox.message, outbox.message_position FROM outbox_producer;
         REVOKE ALL (message_id, topic, key, type, content_type, headers, occurred_at,
                     deliver_after, expires_at, payload) ON outbox.message FROM outbox_producer",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let mut producer = database.connect(Login::Producer).await;
    let insert = "INSERT INTO outbox.message (message_id, topic, type, payload)
                  VALUES (outbox.uuid_v7(), 't', 't', 'x')";
    assert_denied(&mut producer, &[insert]).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut producer)
        .await
        .unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn a_relay_cannot_write_messages() {
    let database = Database::new().await;
    let mut relay = database.connect(Login::Relay).await;
    assert_denied(
        &mut relay,
        &[
            "INSERT INTO outbox.message (message_id, topic, type, payload)
             VALUES (outbox.uuid_v7(), 't', 't', 'x')",
            "SELECT outbox.publish('t', '1')",
            "SELECT outbox.publish_bytes('t', 'x', 'text/plain')",
            "UPDATE outbox.message SET topic = 'u'",
            "DELETE FROM outbox.message",
            "DELETE FROM outbox.message_00",
            "TRUNCATE outbox.message",
            "UPDATE outbox.checkpoint SET lane = 1",
            "INSERT INTO outbox.migration VALUES (9, 'mine')",
            "SELECT consumer FROM inbox.processed",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_definer_function_does_not_follow_the_callers_search_path() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p
         JOIN pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname IN ('outbox', 'inbox') AND p.prosecdef
           AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(loose, [""; 0]);
}
