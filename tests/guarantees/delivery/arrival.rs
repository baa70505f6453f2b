//! Committed messages arrive, and no others, as they were written.

use std::collections::HashSet;

use outbox::{Message, Outbox};
use postroom_testkit::{Login, Stack, Tap, eventually};

use crate::message;

#[tokio::test]
async fn g1_a_message_exists_if_and_only_if_its_transaction_committed() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let pool = stack.database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let mut committed = Vec::new();
    for number in 0..40 {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        let id = outbox
            .publish(&mut tx, message("t", None, number))
            .await
            .unwrap();
        if number % 2 == 0 {
            tx.commit().await.unwrap();
            committed.push(id.to_string());
        } else {
            tx.rollback().await.unwrap();
        }
    }
    tap.distinct(committed.len()).await;
    stack.delivered().await;
    let mut seen: Vec<String> = tap.ids().into_iter().collect();
    seen.sort();
    committed.sort();
    assert_eq!(seen, committed);
}

#[tokio::test]
async fn g3_a_message_without_a_queue_waits_for_one_and_keeps_its_order() {
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let messages = (0..30).map(|n| message("late", Some(["a", "b", "c"][n as usize % 3]), n));
    Outbox::new().publish_all(&mut tx, messages).await.unwrap();
    tx.commit().await.unwrap();
    let owner = stack.database.pool(Login::Owner).await;
    eventually("all are parked", async || {
        stack.database.undelivered_and_parked(&owner).await == (0, 30)
    })
    .await;
    let reasons: Vec<(String, i64)> =
        sqlx::query_as("SELECT reason, count(*) FROM outbox.parked GROUP BY 1 ORDER BY 1")
            .fetch_all(&owner)
            .await
            .unwrap();
    assert_eq!(
        reasons,
        [("behind".to_owned(), 27), ("unroutable".to_owned(), 3)]
    );
    // Parked rows survive the relay that parked them.
    relay.kill().await;
    let _relay = stack.relay().await;
    let tap = Tap::open(&stack.broker, "tap", "late").await;
    tap.distinct(30).await;
    stack.delivered().await;
    for (_, seen) in tap.first_by_key() {
        let numbers: Vec<i64> = seen
            .iter()
            .map(|s| String::from_utf8_lossy(&s.body).parse().unwrap())
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(numbers.len(), 10);
    }
}

/// A body by which its message is known, of about so many bytes.
fn body(number: usize, bytes: usize) -> Vec<u8> {
    let number = format!("{number} ");
    number
        .bytes()
        .cycle()
        .take(bytes.max(number.len()))
        .collect()
}

/// Bodies above a page's share are read apart from their rows, and end the page early.
#[tokio::test]
async fn bodies_of_all_sizes_arrive_as_they_were_written_and_in_order() {
    const SIZES: [usize; 7] = [1, 1_023, 1_024, 1_025, 3_000, 20_000, 100];
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    // A share of 1,024 bytes, and bodies of twice the page.
    let page = [
        ("POSTROOM_CAPTURE_PAGE_ROWS", "10"),
        ("POSTROOM_CAPTURE_PAGE_BYTES", "10240"),
    ];
    let _relay = stack.relay_with(&page).await;
    let pool = stack.database.pool(Login::Producer).await;
    let publish = async |tx: &mut sqlx::PgTransaction<'_>, numbers: std::ops::Range<usize>| {
        let messages = numbers.map(|number| {
            let body = body(number, SIZES[number % SIZES.len()]);
            let message = Message::bytes("t", "text/plain", body).unwrap();
            message.key(format!("key-{}", number / 70)).unwrap()
        });
        Outbox::new().publish_all(tx, messages).await.unwrap();
    };
    // The first is seen late: its rows lie below those of the second, which do not wait.
    let mut late = outbox::transaction::begin(&pool).await.unwrap();
    publish(&mut late, 0..70).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    publish(&mut tx, 70..140).await;
    tx.commit().await.unwrap();
    tap.distinct(70).await;
    late.commit().await.unwrap();
    tap.distinct(140).await;
    stack.delivered().await;
    for (key, seen) in tap.first_by_key() {
        let first = if key == "key-0" { 0 } else { 70 };
        assert_eq!(seen.len(), 70);
        for (number, seen) in (first..).zip(seen) {
            assert_eq!(seen.body, body(number, SIZES[number % SIZES.len()]));
        }
    }
}

#[tokio::test]
async fn the_broker_connection_is_made_again_after_an_operator_closed_it() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "before", "#").await;
    let relay = stack.relay().await;
    drop(tap);
    stack.broker.close_connections();
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    Outbox::new()
        .publish(&mut tx, message("t", Some("k"), 1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    tap.distinct(1).await;
    relay.ready().await;
}

/// The message that lapin attaches to a confirm may be another one (`client_bugs/lapin_returns.rs`).
#[tokio::test]
async fn g3_the_relay_parks_exactly_what_no_queue_took() {
    // With a few batches, luck could hide that confirms are mixed up.
    const RELAYED: usize = 30_000;
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let topic = |n: usize| ["bound", "unbound"][n % 2];
    let messages = (0..RELAYED).map(|n| Message::bytes(topic(n), "text/plain", "").unwrap());
    let ids = Outbox::new().publish_all(&mut tx, messages).await.unwrap();
    tx.commit().await.unwrap();
    let (bound, unbound): (Vec<_>, Vec<_>) = ids.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
    // As pipelined as the relay can be.
    let _relay = stack
        .relay_with(&[
            ("POSTROOM_AMQP_BATCH", "5000"),
            ("POSTROOM_CAPTURE_PAGE_ROWS", "5000"),
            ("POSTROOM_PUBLISH_RETRY_FIRST", "1h"),
            ("POSTROOM_PUBLISH_RETRY_LONGEST", "1h"),
        ])
        .await;
    let owner = stack.database.pool(Login::Owner).await;
    eventually("all are delivered or parked", async || {
        stack.database.undelivered_and_parked(&owner).await == (0, unbound.len() as i64)
    })
    .await;
    let parked: HashSet<uuid::Uuid> = sqlx::query_scalar("SELECT message_id FROM outbox.parked")
        .fetch_all(&owner)
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(parked, unbound.iter().map(|id| id.as_uuid()).collect());
    tap.distinct(bound.len()).await;
    assert_eq!(tap.ids(), bound.iter().map(ToString::to_string).collect());
    assert_eq!(tap.seen().len(), bound.len(), "each once");
}
