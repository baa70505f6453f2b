//! A database of an earlier release, upgraded beside running writers and consumers.

use outbox::{HeaderValue, Message, MessageContext, Outbox};
use postroom_testkit::{Database, Login, Stack, Tap, VirtualHost, eventually};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, error::DatabaseError};

/// A database with the schema of release 0.1.
async fn earlier() -> Database {
    let database = Database::empty().await;
    database.apply("0001_outbox.sql");
    database.apply("0002_inbox.sql");
    // Its roles: without the tables of later migrations.
    let roles = migrations::ROLES.replace(", outbox.dropped_%1$s", "");
    let roles = roles.replace(", outbox.dropped", "");
    let roles = roles.replace(", inbox.idempotency_key", "");
    let later = ["inbox.reply", "inbox.partitions"];
    let earlier = roles.lines();
    let earlier = earlier.filter(|line| !later.iter().any(|table| line.contains(table)));
    let roles = earlier.collect::<Vec<_>>().join("\n");
    let mut owner = database.connect(Login::Owner).await;
    owner.execute(AssertSqlSafe(roles)).await.unwrap();
    database
}

async fn insert(producer: &mut PgConnection, headers: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO outbox.message (message_id, topic, key, type, headers, payload)
         VALUES (outbox.uuid_v7(), 't', 'k', 't', '{headers}', 'x')"
    );
    producer.execute(AssertSqlSafe(sql)).await.map(drop)
}

/// Rows that are there already stay, and later ones are refused.
#[tokio::test]
async fn the_check_of_headers_is_added_beside_writers_and_rows_that_break_it() {
    let database = earlier().await;
    let mut producer = database.connect(Login::Producer).await;
    insert(&mut producer, r#"{"a": 1e400}"#).await.unwrap();
    // A writer whose transaction is open.
    let mut writer = database.connect(Login::Producer).await;
    let mut tx = writer.begin().await.unwrap();
    let context = MessageContext::new().correlation_id("c").causation_id("d");
    let message = || Message::bytes("t", "text/plain", "x").unwrap();
    let legal = || {
        let message = message().context(&context).header("x-request-id", 7_i64);
        message
            .unwrap()
            .header("max", HeaderValue::Float(f64::MAX))
            .unwrap()
    };
    Outbox::new().publish(&mut tx, legal()).await.unwrap();
    database.apply("0003_forgery.sql");
    // Gives the relay's role the rights that the relay needs below, to record a drop.
    database.apply_after(3);
    // The same session, with the statement that it has prepared.
    Outbox::new().publish(&mut tx, legal()).await.unwrap();
    tx.commit().await.unwrap();
    let refused = insert(&mut producer, r#"{"a": 1e400}"#).await.unwrap_err();
    assert!(
        refused.to_string().contains("header \"a\" holds a number"),
        "{refused}"
    );
    insert(&mut producer, r#"{"a": 1e40}"#).await.unwrap();

    // The row of before is rejected alone, and an operator lets its key go on.
    let stack = Stack {
        database,
        broker: VirtualHost::new(),
    };
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    tap.distinct(2).await;
    let discard = ["parked", "discard", "--reason", "rejected"];
    eventually("it is rejected", async || {
        let parked = stack.command(&["parked", "list", "--json"]).await.json();
        parked
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["reason"] == "rejected")
    })
    .await;
    stack.command(&discard).await.succeeded();
    tap.distinct(3).await;
    stack.delivered().await;
}

/// A handler that tries a parked message again holds its row for as long as it runs.
#[tokio::test]
async fn the_migration_gives_up_soon_while_a_parked_message_is_handled() {
    let database = earlier().await;
    let mut consumer = database.connect(Login::Consumer).await;
    let mut handling = consumer.begin().await.unwrap();
    handling
        .execute(
            "INSERT INTO inbox.parked (consumer, state, reason, holds_key, topic, headers, payload)
             VALUES ('billing', 'dead', 'failed', false, 't', '{}', '')",
        )
        .await
        .unwrap();
    let mut owner = database.connect(Login::Owner).await;
    let sql = migrations::MIGRATIONS[2].sql;
    let refused = owner.execute(sql).await.unwrap_err();
    let code = refused.as_database_error().and_then(DatabaseError::code);
    // lock_not_available
    assert_eq!(code.as_deref(), Some("55P03"), "{refused}");
    owner.execute("ROLLBACK").await.unwrap();
    handling.commit().await.unwrap();
    owner.execute(sql).await.unwrap();
    database.apply_after(3);
    outbox::schema::check(&mut consumer).await.unwrap();
    consumer
        .execute("UPDATE inbox.parked SET reason = 'untrusted'")
        .await
        .unwrap();
}
