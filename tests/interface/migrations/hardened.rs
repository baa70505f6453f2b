//! A database whose functions nobody may call unless told so.

use outbox::{Message, Outbox};
use postroom_testkit::{Database, Login, Stack, Tap, VirtualHost};
use sqlx::{Connection as _, Executor as _};

/// A migrated database in which the public got nothing by default.
async fn hardened() -> Database {
    let database = Database::empty().await;
    let mut owner = database.connect(Login::Owner).await;
    sqlx::raw_sql(
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    for migration in migrations::MIGRATIONS {
        database.apply(&format!("{}.sql", migration.name));
    }
    database.apply("roles.sql");
    database
}

#[tokio::test]
async fn each_role_may_call_the_functions_it_needs() {
    let database = hardened().await;
    for login in [Login::Producer, Login::Relay, Login::Consumer] {
        let mut connection = database.connect(login).await;
        let checked = outbox::schema::check(&mut connection).await;
        checked.unwrap_or_else(|error| panic!("{login:?}: {error}"));
    }
    for (login, sql) in [
        (
            Login::Producer,
            "INSERT INTO outbox.message (message_id, topic, type, payload)
             VALUES (outbox.uuid_v7(), 't', 't', 'x')",
        ),
        (
            Login::Producer,
            "SELECT outbox.publish('t', '1', key => 'k', serialize_key => true)",
        ),
        (Login::Relay, "SELECT payload FROM outbox.readable"),
        (Login::Consumer, "SELECT inbox.retry(1)"),
        (Login::Consumer, "SELECT inbox.discard(1)"),
        (Login::Consumer, "SELECT inbox.release_next('c', 'k')"),
    ] {
        let ran = database.connect(login).await.execute(sql).await;
        ran.unwrap_or_else(|error| panic!("{login:?}: {sql}: {error}"));
    }
}

#[tokio::test]
async fn a_message_is_published_and_relayed() {
    let stack = Stack {
        database: hardened().await,
        broker: VirtualHost::new(),
    };
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let mut tx = producer.begin().await.unwrap();
    let message = Message::bytes("t", "text/plain", "body").unwrap();
    let message = message.key("k").unwrap().serialize_key();
    Outbox::new().publish(&mut tx, message).await.unwrap();
    tx.commit().await.unwrap();
    tap.distinct(1).await;
    let check = stack.command(&["check"]).await;
    check.succeeded();
}
