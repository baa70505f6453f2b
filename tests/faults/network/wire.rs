//! A connection is reset, goes dead without a word, and is slow.

use std::time::Duration;

use postroom_testkit::{Login, Proxy, Stack, Tap, Wire};
use support::judged;

use crate::{LEASE, load, more, without_broker, without_lease};

/// Faults of the wire, each with the state that ends it: bytes that a dead wire held back are lost, or arrive late.
const FAULTS: [(Wire, Wire); 3] = [
    (Wire::Reset, Wire::Reset),
    (Wire::BlackHole, Wire::Reset),
    (Wire::BlackHole, Wire::Forward),
];

const SLOW: Wire = Wire::Slow(Duration::from_millis(40));

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_the_wire_to_the_broker_is_reset_goes_dead_and_is_slow() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Forward).await;
    let through = wire.url(&url);
    let relay = stack
        .relay_with(&[LEASE, ("POSTROOM_AMQP_URL", &through)])
        .await;
    let load = load();
    load.prepare(&stack.database).await;
    load.during(&stack.database, async {
        for (broken, then) in FAULTS {
            more(&tap, 150).await;
            wire.set(broken).await;
            without_broker(&relay).await;
            wire.set(then).await;
            wire.set(Wire::Forward).await;
            relay.ready().await;
        }
        wire.set(SLOW).await;
        more(&tap, 150).await;
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g7_the_wire_to_the_database_is_reset_goes_dead_and_is_slow() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.database.url(Login::Relay);
    let wire = Proxy::new(&url, Wire::Forward).await;
    let through = wire.url(&url);
    let relay = stack
        .relay_with(&[LEASE, ("POSTROOM_DATABASE_URL", &through)])
        .await;
    let admin = stack.database.pool(Login::Admin).await;
    let load = load();
    load.prepare(&stack.database).await;
    load.during(&stack.database, async {
        for (broken, then) in FAULTS {
            more(&tap, 150).await;
            wire.set(broken).await;
            without_lease(&relay, &admin).await;
            wire.set(then).await;
            wire.set(Wire::Forward).await;
            relay.ready().await;
        }
        wire.set(SLOW).await;
        more(&tap, 150).await;
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
}
