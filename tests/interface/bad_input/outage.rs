//! Servers that are not there yet, go away, or fall silent.

use outbox::{Message, Outbox};
use postroom_testkit::{Login, Proxy, RelayProcess, Stack, Tap, Wire, eventually};
use sqlx::{Connection as _, Executor as _};

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

/// A client has nothing by which to notice that its connection fell silent: it must ask and wait no longer
/// than so long.
#[tokio::test]
async fn g7_a_standby_whose_connection_fell_silent_takes_over_all_the_same() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.database.url(Login::Relay);
    let wire = Proxy::new(&url, Wire::Forward).await;
    let short = ("POSTROOM_LEASE_TIMEOUT", "1s");
    let active = stack.relay_with(&[short]).await;
    let standby = stack.start_relay(&[short, ("POSTROOM_DATABASE_URL", &wire.url(&url))]);
    standby.role("standby").await;
    wire.silence(1..=wire.accepted());
    active.kill().await;
    publish(&stack).await;
    tap.distinct(1).await;
    standby.role("active").await;
    wire.silence(1..=wire.accepted());
    assert!(standby.stop().await.success(), "it stops all the same");
}

/// The second connection reads the outbox, the third what is parked.
#[tokio::test]
async fn g3_a_silent_connection_that_reads_ends_the_session() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "t").await;
    let url = stack.database.url(Login::Relay);
    for (number, connection) in [2, 3].into_iter().enumerate() {
        let wire = Proxy::new(&url, Wire::Forward).await;
        let through = wire.url(&url);
        let relay = stack
            .relay_with(&[
                ("POSTROOM_LEASE_TIMEOUT", "1s"),
                ("POSTROOM_DATABASE_URL", &through),
            ])
            .await;
        wire.silence(connection..=connection);
        publish(&stack).await;
        eventually("the relay says that nobody answers", async || {
            relay.logged().contains("gave no answer within 6s")
        })
        .await;
        relay.ready().await;
        tap.distinct(number + 1).await;
        assert!(relay.stop().await.success());
    }
}

/// The broker is not to blame, and whoever holds the lock is to be found.
#[tokio::test]
async fn a_database_that_lets_a_relay_wait_is_told() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut owner = stack.database.connect(Login::Owner).await;
    let mut locking = owner.begin().await.unwrap();
    let lock = "LOCK TABLE outbox.message_03 IN ACCESS EXCLUSIVE MODE";
    locking.execute(lock).await.unwrap();
    let relay = stack.start_relay(&[]);
    let problem = || {
        let (_, health) = relay.health()?;
        health["problem"].as_str().map(str::to_owned)
    };
    eventually("health says what it waits for", async || {
        problem().is_some_and(|problem| problem.contains("who holds locks"))
    })
    .await;
    assert!(relay.logged().contains("who holds locks"));
    locking.rollback().await.unwrap();
    relay.ready().await;
    publish(&stack).await;
    tap.distinct(1).await;
    assert_eq!(problem(), None);
}
