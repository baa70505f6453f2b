//! Writers of one key that lock no row of their own ask the library to order them.

use outbox::{HeaderValue, Message, Outbox, PublishError};
use postroom_testkit::{Database, Login, Stack, Tap, eventually};
use sqlx::PgConnection;

fn message(number: u32, serialized: bool) -> Message {
    let message = Message::bytes("t", "text/plain", number.to_string()).unwrap();
    let message = message.key("k").unwrap();
    if serialized {
        message.serialize_key()
    } else {
        message
    }
}

/// Counts the advisory locks in this database, held or waited for.
async fn locks(owner: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
         WHERE d.datname = current_database() AND l.locktype = 'advisory'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

async fn waits_for_a_key(owner: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                        WHERE d.datname = current_database() AND l.locktype = 'advisory'
                          AND NOT l.granted)",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

/// Order in which a queue sees messages 1 and 2 of one key: both were written before either
/// committed, if nothing forbade it, and 2 committed first.
async fn order_seen(serialized: bool) -> Vec<String> {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let pool = stack.database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let mut first = outbox::transaction::begin(&pool).await.unwrap();
    outbox
        .publish(&mut first, message(1, serialized))
        .await
        .unwrap();
    let mut owner = stack.database.connect(Login::Owner).await;
    let second = tokio::spawn(async move {
        let mut second = outbox::transaction::begin(&pool).await.unwrap();
        let message = message(2, serialized);
        outbox.publish_all(&mut second, [message]).await.unwrap();
        second.commit().await.unwrap();
    });
    eventually("the second writer waits, or has committed", async || {
        second.is_finished() || waits_for_a_key(&mut owner).await
    })
    .await;
    assert_eq!(
        !second.is_finished(),
        serialized,
        "only a serialised key waits"
    );
    first.commit().await.unwrap();
    second.await.unwrap();
    let _relay = stack.relay().await;
    let seen = tap.distinct(2).await;
    seen.into_iter()
        .map(|seen| String::from_utf8(seen.body).unwrap())
        .collect()
}

#[tokio::test]
async fn g4_serialize_key_makes_the_second_writer_wait_for_the_firsts_commit() {
    assert_eq!(order_seen(true).await, ["1", "2"]);
}

#[tokio::test]
async fn trap_without_a_lock_the_order_of_writing_wins_over_that_of_commits() {
    // 2 committed first. This is why G4 has a precondition.
    assert_eq!(order_seen(false).await, ["1", "2"]);
}

#[tokio::test]
async fn serialized_keys_of_many_messages_are_locked_in_one_order() {
    let database = Database::new().await;
    let pool = database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_u32 {
        let pool = pool.clone();
        writers.spawn(async move {
            for round in 0..20_u32 {
                let mut keys: Vec<u32> = (0..30).collect();
                keys.rotate_left((writer * 7 + round * 3) as usize % 30);
                let messages = keys.into_iter().map(|key| {
                    let message = Message::bytes("t", "text/plain", "").unwrap();
                    message.key(format!("k{key}")).unwrap().serialize_key()
                });
                let mut tx = outbox::transaction::begin(&pool).await.unwrap();
                // Writers in a circle would be ended by the server: 40P01.
                outbox.publish_all(&mut tx, messages).await.unwrap();
                tx.commit().await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn the_function_and_the_library_take_the_same_lock() {
    let database = Database::new().await;
    let pool = database.pool(Login::Producer).await;
    let mut first = outbox::transaction::begin(&pool).await.unwrap();
    Outbox::new()
        .publish(&mut first, message(1, true))
        .await
        .unwrap();
    let function = tokio::spawn(async move {
        sqlx::query("SELECT outbox.publish('t', '2', key => 'k', serialize_key => true)")
            .execute(&pool)
            .await
            .unwrap();
    });
    let mut owner = database.connect(Login::Owner).await;
    eventually("the function waits", async || {
        waits_for_a_key(&mut owner).await
    })
    .await;
    first.commit().await.unwrap();
    function.await.unwrap();
}

#[tokio::test]
async fn more_keys_than_the_lock_table_should_bear_are_refused_and_the_transaction_goes_on() {
    let database = Database::new().await;
    let pool = database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let keys = |count: usize| {
        (0..count).map(|n| {
            let message = Message::bytes("t", "text/plain", "").unwrap();
            message.key(format!("k{n}")).unwrap().serialize_key()
        })
    };
    let refused = outbox.publish_all(&mut tx, keys(1_001)).await.unwrap_err();
    assert!(
        matches!(refused, PublishError::TooManySerializedKeys(1_001)),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("at most 1000 in one call"),
        "{refused}"
    );
    let published = outbox.publish_all(&mut tx, keys(1_000)).await.unwrap();
    assert_eq!(published.len(), 1_000);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_refused_locks_no_key() {
    let database = Database::new().await;
    let pool = database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let good = || message(1, true);
    let refused = || {
        good()
            .header("ratio", HeaderValue::Float(f64::NAN))
            .unwrap()
    };
    outbox.publish(&mut tx, refused()).await.unwrap_err();
    let both = outbox.publish_all(&mut tx, [good(), refused()]).await;
    both.unwrap_err();
    let mut owner = database.connect(Login::Owner).await;
    assert_eq!(locks(&mut owner).await, 0);
    outbox.publish(&mut tx, good()).await.unwrap();
    assert_eq!(locks(&mut owner).await, 1);
    tx.commit().await.unwrap();
}
