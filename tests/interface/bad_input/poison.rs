//! Rows that can never be messages. A producer could write them before the table refused them, and such a row stops its
//! own key alone.
#![allow(clippy::expect_used)] // Helpers of tests.

use postroom_testkit::{Login, Stack, Tap, eventually};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::assert_says;

/// Assignments that make a row unreadable, each with a name and a part of the relay's error.
fn poisons() -> Vec<(&'static str, String, &'static str)> {
    let nested = format!("{}1{}", "[".repeat(130), "]".repeat(130));
    let times = ["infinity", "294276-01-01"];
    let mut poisons: Vec<_> = times
        .map(|time| ("deliver_after", time.to_owned(), "its deliver_after is"))
        .to_vec();
    let headers = ["1e400".to_owned(), "7".repeat(65_000), nested];
    let headers = headers.map(|value| format!("{{\"a\": {value}}}"));
    poisons.extend(headers.map(|headers| ("headers", headers, "its headers cannot be read")));
    poisons
}

async fn parked(stack: &Stack, filter: &[&str]) -> Vec<Value> {
    let arguments = [&["parked", "list", "--json"], filter].concat();
    let listed = stack.command(&arguments).await.json();
    listed.as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_rejected_and_stops_its_key_alone() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    stack.database.allow_any_header().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let poisons = poisons();
    for (index, (column, value, _)) in poisons.iter().enumerate() {
        // A bad message with a key and a bad message without, each with a good message behind it.
        for key in ["NULL".to_owned(), format!("'held-{index}'")] {
            let bad = format!(
                "INSERT INTO outbox.message (message_id, topic, key, type, payload, {column})
                 VALUES (gen_random_uuid(), 't', {key}, 't', '1', $${value}$$)"
            );
            producer.execute(AssertSqlSafe(bad)).await.unwrap();
            let behind = format!("SELECT outbox.publish('t', '2', key => {key})");
            producer.execute(AssertSqlSafe(behind)).await.unwrap();
        }
    }
    let relay = stack.relay().await;
    // A row with a time of its own leaves the order of its key.
    let timed = poisons
        .iter()
        .filter(|(column, ..)| *column == "deliver_after");
    let good = poisons.len() + timed.count();
    tap.distinct(good).await;
    eventually("the others are parked", async || {
        parked(&stack, &["--reason", "rejected"]).await.len() == 2 * poisons.len()
    })
    .await;
    let rejected = parked(&stack, &["--reason", "rejected"]).await;
    for (rows, (_, _, says)) in rejected.chunks(2).zip(&poisons) {
        for row in rows {
            assert_says(row["detail"].as_str().unwrap(), &[says]);
            assert_eq!(row["attempts"], 1, "{row}");
        }
    }
    assert_eq!(tap.ids().len(), good);

    // Discarding releases what waits behind.
    let discarded = stack.command(&["parked", "discard", "--reason", "rejected"]);
    discarded.await.succeeded();
    tap.distinct(2 * poisons.len()).await;
    stack.delivered().await;
    let lost = relay.metric("postroom_relay_sessions_lost_total");
    assert!(lost < 1.0, "{lost} sessions were lost");
}

#[tokio::test]
async fn a_row_with_a_time_that_no_message_can_carry_is_delivered_with_the_nearest() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let times = [
        ("expires_at", "infinity"),
        ("deliver_after", "-infinity"),
        ("deliver_after", "4713-01-01 BC"),
        ("occurred_at", "infinity"),
        ("occurred_at", "-infinity"),
        ("occurred_at", "294276-12-31"),
        ("occurred_at", "4713-01-01 BC"),
    ];
    for (column, time) in times {
        let sql = format!(
            "INSERT INTO outbox.message (message_id, topic, key, type, payload, {column})
             VALUES (outbox.uuid_v7(), 't', 'k', 't', '1', '{time}')"
        );
        producer.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    tap.distinct(times.len()).await;
    stack.delivered().await;
}

#[tokio::test]
async fn commands_show_times_that_are_none() {
    let stack = Stack::new().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute("SELECT outbox.publish('t', '1', key => 'k')")
        .await
        .unwrap();
    let relay = stack.relay().await;
    eventually("it is parked: no queue is bound", async || {
        parked(&stack, &[]).await.len() == 1
    })
    .await;
    assert!(relay.stop().await.success());
    for (written, shown) in [
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("294276-01-01", "after the year 9999"),
    ] {
        let mut owner = stack.database.connect(Login::Owner).await;
        let parked_row =
            format!("UPDATE outbox.parked SET due_at = '{written}', occurred_at = '{written}'");
        owner.execute(AssertSqlSafe(parked_row)).await.unwrap();
        let waiting = format!(
            "INSERT INTO outbox.message (message_id, topic, type, payload, occurred_at)
             VALUES (gen_random_uuid(), 't', 't', '1', '{written}')"
        );
        producer.execute(AssertSqlSafe(waiting)).await.unwrap();
        let status = stack.command(&["status", "--json"]).await.json();
        assert_eq!(status["parked"][0]["next_due"], shown);
        assert_eq!(status["parked"][0]["oldest"], shown);
        let table = stack.command(&["status"]).await;
        assert_says(table.succeeded(), &[shown]);
        let list = stack.command(&["parked", "list"]).await;
        assert_says(list.succeeded(), &[shown]);
        let listed = parked(&stack, &[]).await;
        assert_eq!(listed[0]["due_at"], shown);
        let position = listed[0]["position"].to_string();
        let show = stack.command(&["parked", "show", &position]).await;
        show.succeeded();
    }
    // An operator can still retry a row that waits for ever.
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    producer
        .execute("SELECT outbox.publish('t', '2', key => 'other')")
        .await
        .unwrap();
    let _relay = stack.relay().await;
    tap.distinct(4).await;
    stack
        .command(&["parked", "retry", "--reason", "unroutable"])
        .await
        .succeeded();
    tap.distinct(5).await;
    stack.delivered().await;
}
