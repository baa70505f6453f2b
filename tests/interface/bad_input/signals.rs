//! Stopping.

use postroom_testkit::{Login, Proxy, Stack, Tap, Wire, eventually};

#[tokio::test]
async fn sigterm_and_sigint_stop_gracefully_with_exit_code_0() {
    let stack = Stack::new().await;
    for signal in ["TERM", "INT"] {
        let mut relay = stack.relay().await;
        relay.signal(signal);
        assert_eq!(relay.exited().await.code(), Some(0), "{signal}");
        assert!(relay.logged().contains("stopped"), "{}", relay.logged());
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once_what_cannot_end_gracefully() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Forward).await;
    let drain = ("POSTROOM_LEASE_DRAIN_TIMEOUT", "10min");
    let lease = ("POSTROOM_LEASE_TIMEOUT", "1min");
    let url = wire.url(&url);
    let mut relay = stack
        .relay_with(&[("POSTROOM_AMQP_URL", &url), drain, lease])
        .await;
    wire.set(Wire::BlackHole).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    eventually("a message is in flight", async || {
        relay.metric("postroom_relay_window_rows") > 0.0
    })
    .await;
    relay.signal("TERM");
    eventually("it drains", async || relay.logged().contains("stopping")).await;
    // The confirm cannot come, so the relay still runs.
    assert!(relay.is_live());
    relay.signal("TERM");
    assert_eq!(relay.exited().await.code(), Some(130));

    // Messages that were in flight are not lost.
    wire.set(Wire::Reset).await;
    let _relay = stack.relay().await;
    tap.distinct(1).await;
}
