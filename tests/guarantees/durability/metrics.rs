//! Metrics are those that the relay lists, and the documents list them all.

use std::{collections::BTreeSet, path::Path};

use postroom_testkit::{Login, Proxy, Stack, Tap, Wire, eventually};

fn listed() -> BTreeSet<String> {
    relay::METRICS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

/// Names in a text that begin as metrics do.
fn mentioned(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("postroom_relay_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_served_metric_is_listed_with_its_meaning() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "t").await;
    let relay = stack.relay().await;
    sqlx::query("SELECT outbox.publish('t', '1'), outbox.publish('unbound', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    tap.distinct(1).await;
    eventually("both messages are counted", async || {
        relay.metric("postroom_relay_delivered_total") >= 1.0
            && relay.metric("postroom_relay_parked_total") >= 1.0
            && relay.metric("postroom_relay_checkpoints_total") >= 1.0
    })
    .await;
    let metrics = relay.metrics();
    let listed = listed();
    let mut served = BTreeSet::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# ")) {
        let mut words = line.split(' ');
        let (kind, name) = (words.next().unwrap(), words.next().unwrap());
        assert!(listed.contains(name), "{name} is served and not listed");
        if kind == "TYPE" {
            assert!(
                metrics.contains(&format!("# HELP {name} ")),
                "{name} has no meaning"
            );
            served.insert(name);
        }
    }
    for name in [
        "postroom_relay_active",
        "postroom_relay_broker_state",
        "postroom_relay_frame_rows",
        "postroom_relay_confirm_seconds",
        "postroom_relay_delay_seconds",
        "postroom_relay_window_rows",
        "postroom_relay_held_keys",
        "postroom_relay_lag_seconds",
        "postroom_relay_parked_rows",
    ] {
        assert!(served.contains(name), "{name} is not served: {served:?}");
    }
    assert!(relay.metric("postroom_relay_active") > 0.0);
    // Counters begin at zero and are not absent, so that the first event is an increase.
    for counter in relay::METRICS.iter().map(|(name, _)| *name) {
        assert!(
            served.contains(counter) || !counter.ends_with("_total"),
            "{counter}"
        );
    }
}

/// Counters know nothing of what an earlier relay parked.
#[tokio::test]
async fn parked_messages_are_counted_from_the_start() {
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    sqlx::query("SELECT outbox.publish('unbound', '1'), outbox.publish('unbound', '2')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    eventually("both are parked", async || {
        relay.metric("postroom_relay_parked_total") >= 2.0
    })
    .await;
    relay.stop().await;
    let relay = stack.relay().await;
    let unroutable = "postroom_relay_parked_rows{reason=\"unroutable\"} 2\n";
    eventually("they are counted", async || {
        relay.metrics().contains(unroutable)
    })
    .await;
    assert!(relay.metric("postroom_relay_lag_seconds") <= 0.0);
}

#[tokio::test]
async fn messages_lag_while_no_queue_takes_them() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Forward).await;
    let url = wire.url(&url);
    let relay = stack.relay_with(&[("POSTROOM_AMQP_URL", &url)]).await;
    wire.set(Wire::BlackHole).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    let lag = || relay.metric("postroom_relay_lag_seconds");
    eventually("it lags", async || lag() > 2.0).await;
    wire.set(Wire::Reset).await;
    wire.set(Wire::Forward).await;
    tap.distinct(1).await;
    eventually("nothing lags", async || lag() <= 0.0).await;
}

/// Messages that no queue takes are retried often, and would dominate the histogram.
#[tokio::test]
async fn only_what_a_queue_took_has_a_delay() {
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query("SELECT outbox.publish('unbound', '1')")
        .execute(&mut producer)
        .await
        .unwrap();
    let confirmed = || relay.metric("postroom_relay_confirm_seconds_count");
    let delays = || relay.metric("postroom_relay_delay_seconds_count");
    eventually("it came back twice", async || confirmed() >= 2.0).await;
    assert!(delays() < 1.0, "it has no delay");
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    tap.distinct(1).await;
    eventually("it has one now", async || delays() >= 1.0).await;
}

#[test]
fn every_listed_metric_is_one_that_an_event_touches() {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../relay/src/events");
    let mut emits = String::new();
    for file in std::fs::read_dir(&events).unwrap() {
        let path = file.unwrap().path();
        if !path.ends_with("names.rs") {
            emits.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let list = std::fs::read_to_string(events.join("names.rs")).unwrap();
    assert_eq!(mentioned(&list), listed());
    assert_eq!(mentioned(&emits), listed());
}

#[test]
fn the_documents_list_every_metric_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(page).unwrap();
    assert_eq!(mentioned(&text), listed());
}
