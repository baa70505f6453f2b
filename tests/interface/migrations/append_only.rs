//! Nothing ever updates or deletes a message; people can read them.

use outbox::{Message, Outbox};
use postroom_testkit::{Database, Login, Stack, Tap, eventually};
use serde_json::{Value, json};

const MESSAGES: i64 = 1_000;

#[tokio::test]
async fn g6_committed_and_delivered_work_leaves_no_dead_tuple() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let pool = stack.database.pool(Login::Producer).await;
    for first in (0..MESSAGES).step_by(100) {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        let messages = (first..first + 100).map(|n| {
            let message = Message::bytes("t", "text/plain", n.to_string()).unwrap();
            message.key(format!("k{}", n % 7)).unwrap()
        });
        Outbox::new().publish_all(&mut tx, messages).await.unwrap();
        tx.commit().await.unwrap();
    }
    tap.distinct(MESSAGES as usize).await;
    stack.delivered().await;
    // A session reports its statistics when it ends, or with a delay.
    pool.close().await;
    let owner = stack.database.pool(Login::Owner).await;
    let statistics = async || -> (i64, i64, i64, i64) {
        sqlx::query_as(
            "SELECT sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_del)::bigint,
                    sum(n_dead_tup)::bigint
             FROM pg_stat_user_tables WHERE schemaname = 'outbox' AND relname ~ '^message_'",
        )
        .fetch_one(&owner)
        .await
        .unwrap()
    };
    eventually("the writes are counted", async || {
        statistics().await.0 >= MESSAGES
    })
    .await;
    assert_eq!(statistics().await, (MESSAGES, 0, 0, 0));
}

#[tokio::test]
async fn people_read_payloads_as_json() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for sql in [
        r#"SELECT outbox.publish('t', '{"id": 7, "name": "Zoë"}', key => 'k')"#,
        "SELECT outbox.publish_bytes('t', '\\x89504e47', 'image/png')",
        "SELECT outbox.publish_bytes('t', 'no json', 'application/json')",
        "SELECT outbox.publish_bytes('t', '\\xff00', 'application/json')",
        "SELECT outbox.publish_bytes('t', '[1, 2]', 'application/cloudevents+json')",
    ] {
        sqlx::query(sql).execute(&mut producer).await.unwrap();
    }
    let payloads: Vec<Value> =
        sqlx::query_scalar("SELECT payload FROM outbox.readable ORDER BY position")
            .fetch_all(&mut database.connect(Login::Relay).await)
            .await
            .unwrap();
    let expected = [
        json!({"id": 7, "name": "Zoë"}),
        json!("iVBORw=="),
        json!("bm8ganNvbg=="),
        json!("/wA="),
        json!([1, 2]),
    ];
    assert_eq!(payloads, expected);
}

/// Too deep for the server's JSON, and no reason to show nothing of all others.
#[tokio::test]
async fn a_body_that_is_nested_too_deep_is_shown_in_base64() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for sql in [
        "SELECT outbox.publish('t', '7')",
        "SELECT outbox.publish_bytes('t', convert_to(repeat('[', 100000), 'UTF8'), 'application/json')",
        "SELECT outbox.publish_bytes('t', '\"\\\\u0000\"', 'application/json')",
        "SELECT outbox.publish_bytes('t', '1e999999', 'application/json')",
    ] {
        sqlx::query(sql).execute(&mut producer).await.unwrap();
    }
    let payloads: Vec<Value> =
        sqlx::query_scalar("SELECT payload FROM outbox.readable ORDER BY position")
            .fetch_all(&mut database.connect(Login::Relay).await)
            .await
            .unwrap();
    assert_eq!(payloads[0], json!(7));
    assert!(payloads[1].as_str().unwrap().starts_with("W1tbW1tb"));
    assert_eq!(
        payloads[2..],
        [json!("Ilx1MDAwMCI="), json!("MWU5OTk5OTk=")]
    );
}
