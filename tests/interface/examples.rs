//! The examples run, and print what they promise.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use postroom_testkit::{DEADLINE, Stack};
use support::example;
use tokio::time::timeout;

/// Runs an example beside a relay, in a database and virtual host of its own; returns its lines.
async fn lines(name: &str) -> Vec<String> {
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    let running = example(&stack, name).output();
    let ended = timeout(DEADLINE, running).await;
    let ended = ended
        .expect("the example ends")
        .expect("the example is built: make bins");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{name}: {errors}");
    let output = String::from_utf8(ended.stdout).unwrap();
    output.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn publishing() {
    assert!(lines("publish").await[0].starts_with("published 0"));
    assert_eq!(lines("publish_many").await, ["published 3 messages"]);
    assert!(lines("schedule").await[0].starts_with("published one message for 2"));
}

#[tokio::test]
async fn handling() {
    let handled = ["handled order 1", "handled order 2", "handled order 3"];
    assert_eq!(lines("handle").await, handled);
    assert_eq!(lines("consumed").await, ["100 cents", "200 cents"]);
    let priced = [
        "order 1 of ann, attempt 1: 119 cents with tax",
        "order 2 of ann, attempt 1: 238 cents with tax",
    ];
    assert_eq!(lines("state").await, priced);
    assert!(lines("follow_up").await[0].starts_with("order 1 is invoiced, because of 0"));
    assert_eq!(lines("other_source").await, ["Handled", "Duplicate"]);
    let single = [
        "rehearsed: Handled, 0 orders",
        "handled: Handled, 1 orders",
        "handled: Duplicate, 1 orders",
    ];
    assert_eq!(lines("single_delivery").await, single);
}

#[tokio::test]
async fn handling_many_messages_at_once() {
    let handled: Vec<usize> = lines("handle_many")
        .await
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(handled.iter().sum::<usize>(), 500);
    // Messages that wait for the worker go together; their number depends on the machine.
    assert!(handled.len() < 500, "{handled:?}");
    let shared = &lines("share_transactions").await[0];
    let transactions = shared.split(' ').nth(3).unwrap();
    assert!(transactions.parse::<usize>().unwrap() < 500, "{shared}");
}

#[tokio::test]
async fn health_and_waiting() {
    let health = lines("health").await;
    assert_eq!(
        health[0],
        "before the start: HTTP/1.1 503 Service Unavailable"
    );
    assert_eq!(health[1], "once subscribed: HTTP/1.1 200 OK");
    assert!(health[2].contains("has stopped"), "{health:?}");
    assert_eq!(lines("read_own_writes").await, ["the order is there: 1"]);
}

#[tokio::test]
async fn requests() {
    let expected = [
        "granted: 500 cents",
        "rejected: the handler rejected the message: nobody gets more than 1000 cents",
    ];
    assert_eq!(lines("request").await, expected);
}

#[tokio::test]
async fn versions() {
    let paid = ["order 1: 950 cents in EUR", "order 1: 50 cents in EUR"];
    assert_eq!(lines("versions").await, paid);
}

#[tokio::test]
async fn partitions() {
    let handled = lines("partitions").await;
    assert_eq!(handled.len(), 6, "{handled:?}");
    for customer in ["ann", "bob", "cid"] {
        let of = |line: &&String| line.contains(customer);
        let orders: Vec<&String> = handled.iter().filter(of).collect();
        assert!(orders[0] < orders[1], "{handled:?}");
    }
}

#[tokio::test]
async fn idempotency() {
    let once = [
        "invoiced order 1",
        "invoiced order 2",
        "remembered orders 1 and 2",
    ];
    assert_eq!(lines("idempotency").await, once);
}

#[tokio::test]
async fn layers() {
    let tenant = ["order 1 belongs to the tenant north"];
    assert_eq!(lines("layer").await, tenant);
    let mut admitted = lines("admission_layer").await;
    admitted.sort();
    let alone = (1..=4).map(|id| format!("order {id} is handled beside 0 others"));
    assert!(admitted.into_iter().eq(alone));
}

#[tokio::test]
async fn messages_that_are_not_handled() {
    let parked = lines("reject_and_defer").await;
    assert_eq!(parked.len(), 2, "{parked:?}");
    assert!(
        parked.iter().any(|line| line.contains("Rejected")),
        "{parked:?}"
    );
    assert!(
        parked.iter().any(|line| line.contains("Deferred")),
        "{parked:?}"
    );
    let mut fates = lines("fates").await;
    fates.sort();
    let expected = [
        "Deferred: the handler deferred the message: invoicing order 2: the customer bob has not arrived yet",
        "Rejected: the handler rejected the message: invoicing order 1: the customer ann does not exist",
    ];
    assert_eq!(fates, expected);
    let dead = [
        "2 messages are dead",
        "one is tried again by the next process",
        "one is discarded",
    ];
    assert_eq!(lines("dead_letters").await, dead);
}
