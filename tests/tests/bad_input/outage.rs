//! Servers that are not there yet, go away, or fall silent.

use outbox::{Message, Outbox};
use support::{Login, Proxy, RelayProcess, Stack, Tap, Wire, eventually};

/// Waits until the relay is live, not ready, and says why.
async fn waits(relay: &RelayProcess, problem: &str) {
    eventually(&format!("the relay waits: {problem}"), async || {
        relay.is_live()
            && relay.health().is_some_and(|(ready, health)| {
                !ready
                    && health["problem"]
                        .as_str()
                        .is_some_and(|p| p.contains(problem))
            })
    })
    .await;
}

async fn publish(stack: &Stack) {
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let message = Message::bytes("t", "text/plain", "").unwrap();
    Outbox::new().publish(&mut tx, message).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_relay_started_before_its_database_waits_for_it() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.database.url(Login::Relay);
    let wire = Proxy::new(&url, Wire::Refuse).await;
    let mut relay = stack.start_relay(&[("POSTROOM_DATABASE_URL", &wire.url(&url))]);
    waits(&relay, "refused").await;
    publish(&stack).await;
    wire.set(Wire::Forward).await;
    relay.ready().await;
    tap.distinct(1).await;
    wire.set(Wire::Reset).await;
    waits(&relay, "connecting to").await;
    wire.set(Wire::Forward).await;
    relay.ready().await;
    relay.signal("TERM");
    assert!(relay.exited().await.success());
}

#[tokio::test]
async fn a_relay_started_before_its_broker_waits_for_it() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Refuse).await;
    let relay = stack.start_relay(&[("POSTROOM_AMQP_URL", &wire.url(&url))]);
    waits(&relay, "refused").await;
    publish(&stack).await;
    wire.set(Wire::Forward).await;
    relay.ready().await;
    tap.distinct(1).await;
    stack.delivered().await;
}

#[tokio::test]
async fn g3_a_broker_behind_a_dead_wire_is_noticed_and_nothing_is_lost() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Forward).await;
    let through = wire.url(&url);
    let relay = stack
        .relay_with(&[
            ("POSTROOM_AMQP_URL", &through),
            ("POSTROOM_LEASE_TIMEOUT", "2s"),
        ])
        .await;
    for (number, broken) in [Wire::Reset, Wire::Refuse, Wire::BlackHole]
        .into_iter()
        .enumerate()
    {
        wire.set(broken).await;
        publish(&stack).await;
        waits(&relay, "").await;
        wire.set(Wire::Forward).await;
        relay.ready().await;
        tap.distinct(number + 1).await;
    }
    stack.delivered().await;
    assert!(wire.accepted() >= 4, "a connection for each");
}

#[tokio::test]
async fn a_graceful_stop_needs_no_server() {
    let stack = Stack::new().await;
    let database = stack.database.url(Login::Relay);
    let wire = Proxy::new(&database, Wire::Refuse).await;
    let relay = stack.start_relay(&[("POSTROOM_DATABASE_URL", &wire.url(&database))]);
    waits(&relay, "refused").await;
    assert!(relay.stop().await.success());

    let broker = stack.broker.url();
    let wire = Proxy::new(&broker, Wire::Refuse).await;
    let relay = stack.start_relay(&[("POSTROOM_AMQP_URL", &wire.url(&broker))]);
    waits(&relay, "refused").await;
    assert!(relay.stop().await.success());
}
