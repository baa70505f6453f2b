//! A message that is stuck is named, with its place.

use std::time::{Duration, Instant};

use inbox::{Context, HandlerError};
use postroom_testkit::{Settled, VirtualHost, eventually};

use crate::world::{Placed, Running, Service, bound, proven, refused};

/// Handles 1, rejects 2, and puts 3 off.
async fn some(_: Context, placed: Placed) -> Result<(), HandlerError> {
    match placed.n {
        1 => Ok(()),
        2 => Err(HandlerError::reject("no such customer")),
        _ => Err(HandlerError::defer(Duration::from_hours(1), "not yet")),
    }
}

#[tokio::test]
async fn messages_parked_in_the_inbox_are_named_with_reason_and_error() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    let running = Running::start(billing.consumer().await.on::<Placed, _, _>(some));
    bound(&broker, "billing", "orders.placed").await;
    for n in [1, 2, 3] {
        orders.publish(&Placed { n }).await;
    }
    // Of another kind of id too.
    orders
        .publish_sql("'orders.placed', '{\"n\": 2}', message_id => gen_random_uuid()")
        .await;
    let everything = || Settled::new().outbox("orders", &orders.pool);
    eventually("three are parked", async || {
        billing.count("SELECT count(*) FROM inbox.parked").await == 3
    })
    .await;
    let report = refused(everything().consumer(billing.takes("orders.#"))).await;
    assert!(
        report.contains("3 of 4 messages have not settled"),
        "{report}"
    );
    let dead = "billing: parked in the inbox (dead: rejected, attempts: 1): the handler rejected the message: no such customer";
    assert_eq!(report.matches(dead).count(), 2, "{report}");
    assert!(
        report.contains(
            "(waiting: deferred, attempts: 0): the handler deferred the message: not yet"
        ),
        "{report}"
    );

    // Dead ones are expected.
    let report = refused(everything().consumer(billing.takes("orders.#").allow_dead())).await;
    assert!(
        report.contains("1 of 4 messages have not settled"),
        "{report}"
    );
    let discard = "SELECT count(inbox.discard(id)) FROM inbox.parked WHERE state = 'waiting'";
    billing.count(discard).await;
    proven(everything().consumer(billing.takes("orders.#").allow_dead())).await;

    // Nothing but an operator can end them: there is nothing to wait for.
    let began = Instant::now();
    let patient = everything().consumer(billing.takes("orders.#"));
    let report = refused(patient.patience(Duration::from_hours(1))).await;
    assert!(report.contains("2 of 4 messages"), "{report}");
    let gave_up = everything()
        .consumer(billing.takes("orders.#"))
        .patience(Duration::from_hours(1));
    let error = gave_up.wait().await.unwrap_err().to_string();
    assert!(error.contains("only an operator"), "{error}");
    assert!(began.elapsed() < Duration::from_mins(30));
    running.stop().await;
}
