//! `relay parked`: a message that can never go holds its key until an operator decides.

use postroom_testkit::{Login, Stack, Tap, eventually};
use serde_json::Value;

use crate::assert_says;

const FOLLOWERS: i32 = 5;

/// A stack whose relay has parked a message that AMQP cannot carry, with others behind it.
struct Held {
    stack: Stack,
    tap: Tap,
    position: String,
    _relay: postroom_testkit::RelayProcess,
}

impl Held {
    async fn new() -> Self {
        let stack = Stack::new().await;
        let tap = Tap::open(&stack.broker, "tap", "#").await;
        let relay = stack.relay().await;
        let mut producer = stack.database.connect(Login::Producer).await;
        // A header's name is a short string on the wire: 255 bytes. The table took any name before it looked.
        stack.database.allow_any_header().await;
        sqlx::query(
            "SELECT outbox.publish('t', '{\"head\": true}', key => 'held',
                                   headers => jsonb_build_object(repeat('n', 300), 1))",
        )
        .execute(&mut producer)
        .await
        .unwrap();
        sqlx::query(
            "SELECT outbox.publish('t', to_jsonb(i), key => k)
             FROM generate_series(1, $1) AS i, unnest(ARRAY['held', 'free']) AS k ORDER BY i",
        )
        .bind(FOLLOWERS)
        .execute(&mut producer)
        .await
        .unwrap();
        tap.distinct(FOLLOWERS as usize).await;
        let mut held = Self {
            stack,
            tap,
            position: String::new(),
            _relay: relay,
        };
        eventually("the head and what follows it are parked", async || {
            held.list(&[]).await.len() == FOLLOWERS as usize + 1
        })
        .await;
        held.position = held.list(&["--reason", "rejected"]).await[0]["position"].to_string();
        held
    }

    async fn list(&self, filter: &[&str]) -> Vec<Value> {
        let arguments = [&["parked", "list", "--json"], filter].concat();
        let listed = self.stack.command(&arguments).await.json();
        listed.as_array().unwrap().clone()
    }

    fn bodies(&self, key: &str) -> Vec<String> {
        let by_key = self.tap.first_by_key();
        let seen = by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        seen.iter()
            .map(|s| String::from_utf8_lossy(&s.body).into_owned())
            .collect()
    }
}

fn numbers() -> Vec<String> {
    (1..=FOLLOWERS).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_message_that_can_never_go_holds_its_own_key_alone() {
    let held = Held::new().await;
    assert_eq!(held.bodies("free"), numbers());
    assert_eq!(held.bodies("held"), [""; 0]);
    let all = held.list(&["--key", "held"]).await;
    assert_eq!(all[0]["reason"], "rejected");
    assert_says(
        all[0]["detail"].as_str().unwrap(),
        &["300 bytes", "at most 255"],
    );
    assert!(
        all[1..].iter().all(|row| row["reason"] == "behind"),
        "{all:?}"
    );
    assert_eq!(held.list(&["--key", "free"]).await.len(), 0);
    assert_eq!(held.list(&["--limit", "2"]).await.len(), 2);

    let table = held.stack.command(&["parked", "list"]).await;
    assert_says(
        table.succeeded(),
        &[&held.position, "rejected", "behind", "held"],
    );
    let shown = held
        .stack
        .command(&["parked", "show", &held.position])
        .await
        .json();
    assert_eq!(shown["payload"]["head"], true);
    assert_eq!(shown["reason"], "rejected");
}

#[tokio::test]
async fn g4_discarding_it_releases_what_follows_in_order() {
    let held = Held::new().await;
    let discarded = held
        .stack
        .command(&["parked", "discard", &held.position])
        .await;
    assert_eq!(discarded.succeeded(), "1 discarded\n");
    held.tap.distinct(2 * FOLLOWERS as usize).await;
    assert_eq!(held.bodies("held"), numbers());
    held.stack.delivered().await;
}

#[tokio::test]
async fn retrying_tries_again_at_once_and_keeps_the_order() {
    let held = Held::new().await;
    let retried = held
        .stack
        .command(&["parked", "retry", &held.position])
        .await;
    assert_eq!(retried.succeeded(), "1 to be tried again at once\n");
    eventually("it was tried a second time", async || {
        held.list(&["--reason", "rejected"]).await[0]["attempts"] == 2
    })
    .await;
    // Retrying all: those behind still wait for the one before them.
    let retried = held
        .stack
        .command(&["parked", "retry", "--reason", "behind"])
        .await;
    assert_eq!(
        retried.succeeded(),
        format!("{FOLLOWERS} to be tried again at once\n")
    );
    eventually("it was tried a third time", async || {
        held.list(&["--reason", "rejected"]).await[0]["attempts"].as_i64() >= Some(3)
    })
    .await;
    assert_eq!(held.bodies("held"), [""; 0]);
}

#[tokio::test]
async fn discarding_everything_leaves_nothing_behind() {
    let held = Held::new().await;
    let reasons = ["parked", "discard", &held.position, "--reason", "behind"];
    let discarded = held.stack.command(&reasons).await;
    assert_eq!(
        discarded.succeeded(),
        format!("{} discarded\n", FOLLOWERS + 1)
    );
    // The key is free again.
    sqlx::query("SELECT outbox.publish('t', '\"next\"', key => 'held')")
        .execute(&mut held.stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    held.tap.distinct(FOLLOWERS as usize + 1).await;
    held.stack.delivered().await;
}

#[tokio::test]
async fn a_position_without_a_parked_message_is_reported() {
    let stack = Stack::new().await;
    let list = stack.command(&["parked", "list"]).await;
    assert_eq!(list.succeeded(), "nothing is parked\n");
    let show = stack.command(&["parked", "show", "77"]).await;
    assert_says(
        show.error(),
        &["no message is parked at position 77", "`relay parked list`"],
    );
    for what in ["discard", "retry"] {
        let done = stack.command(&["parked", what, "77"]).await;
        assert_says(
            done.error(),
            &["no message is parked there", "`relay parked list`"],
        );
        let all = stack
            .command(&["parked", what, "--reason", "rejected"])
            .await;
        assert!(all.succeeded().starts_with("0 "), "{all:?}");
    }
    // Without saying which, nothing is done.
    let all = stack.command(&["parked", "discard"]).await;
    assert_eq!(all.code, Some(2));
}

/// The messages behind it, also those of another topic, wait for an operator too.
#[tokio::test]
async fn a_rejected_message_is_not_tried_again_by_each_session() {
    let held = Held::new().await;
    let other = "SELECT outbox.publish('u', '1', key => 'held')";
    let mut producer = held.stack.database.connect(Login::Producer).await;
    sqlx::query(other).execute(&mut producer).await.unwrap();
    eventually("it is parked behind", async || {
        held.list(&["--key", "held"]).await.len() == FOLLOWERS as usize + 2
    })
    .await;
    let Held {
        stack,
        tap,
        _relay: relay,
        ..
    } = held;
    assert!(relay.stop().await.success());
    let _relay = stack.relay().await;
    let free = "SELECT outbox.publish('t', '0', key => 'free')";
    sqlx::query(free).execute(&mut producer).await.unwrap();
    tap.distinct(FOLLOWERS as usize + 1).await;
    let rejected = stack.command(&["parked", "list", "--json", "--reason", "rejected"]);
    assert_eq!(rejected.await.json()[0]["attempts"], 1);
}

#[tokio::test]
async fn a_reason_that_does_not_exist_is_refused_with_those_that_do() {
    let stack = Stack::new().await;
    let ended = stack
        .command(&["parked", "retry", "--reason", "nonsense"])
        .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_says(&ended.stderr, &["nonsense", "unroutable", "rejected"]);
}
