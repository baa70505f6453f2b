//! Messages with ids of every kind, and expired, dropped and discarded ones, settle.

use inbox::{Context, HandlerError};
use postroom_testkit::{Settled, VirtualHost, eventually};

use crate::world::{Placed, Running, Service, bound, proven, refused};

async fn accept(_: Context, _: Placed) -> Result<(), HandlerError> {
    Ok(())
}

#[tokio::test]
async fn messages_with_ids_of_every_kind_settle_and_no_message_that_is_missing() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    for more in [
        "",
        ", message_id => gen_random_uuid()",
        ", message_id => 'd41d8cd9-8f00-7204-a980-0998ecf8427e'",
        ", message_id => '00000000-0000-0000-0000-000000000000'",
        ", message_id => '00000000-0000-7000-8000-000000000000'",
    ] {
        orders
            .publish_sql(&format!("'orders.placed', '{{\"n\": 1}}'{more}"))
            .await;
    }
    let everything = || {
        Settled::new()
            .outbox("orders", &orders.pool)
            .consumer(billing.takes("orders.*"))
    };
    let report = refused(everything()).await;
    assert!(
        report.contains("5 of 5 messages have not settled"),
        "{report}"
    );
    assert!(
        report.contains("where the relay has not taken it yet; 4 such"),
        "{report}"
    );
    let _relay = orders.relay().await;
    let running = Running::start(billing.consumer().await.on::<Placed, _, _>(accept));
    assert_eq!(proven(everything()).await.messages, 5);
    // Under another source, and for another consumer, the same ids are not recorded.
    let other = Settled::new()
        .outbox("shop", &orders.pool)
        .consumer(billing.takes("orders.*"));
    let report = refused(other).await;
    assert!(report.contains("4 of 5 messages"), "{report}");
    running.stop().await;
}

#[tokio::test]
async fn expired_dropped_and_discarded_messages_settle() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    orders
        .publish_sql("'orders.placed', '{\"n\": 1}', expires_at => now()")
        .await;
    orders.publish_sql("'audit.placed', '1'").await;
    // Parked, since no queue is bound.
    orders.publish_sql("'orders.placed', '{\"n\": 2}'").await;
    let everything = || {
        Settled::new()
            .outbox("orders", &orders.pool)
            .consumer(billing.takes("#"))
    };
    eventually("one is parked", async || {
        orders.count("SELECT count(*) FROM outbox.parked").await == 1
    })
    .await;
    let report = refused(everything()).await;
    assert!(report.contains("1 of 3 messages"), "{report}");
    assert!(
        report.contains("billing: parked at the relay: unroutable"),
        "{report}"
    );
    let discard = ["parked", "discard", "--reason", "unroutable"];
    orders.stack.command(&discard).await.succeeded();
    assert_eq!(proven(everything()).await.messages, 3);
    assert_eq!(
        orders.dropped().await,
        [
            "audit.placed: unroutable",
            "orders.placed: discarded",
            "orders.placed: expired"
        ]
    );
}

#[tokio::test]
async fn only_messages_after_a_starting_point_count() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    orders
        .publish_sql("'orders.placed', '{\"n\": 1}', deliver_after => now() + interval '1 hour'")
        .await;
    let here = Settled::position(&orders.pool).await.unwrap();
    let running = Running::start(billing.consumer().await.on::<Placed, _, _>(accept));
    bound(&broker, "billing", "orders.placed").await;
    orders.publish(&Placed { n: 2 }).await;
    let settled = Settled::new()
        .outbox_since("orders", &orders.pool, here)
        .consumer(billing.takes("orders.#"));
    assert_eq!(proven(settled).await.messages, 1);
    running.stop().await;
}
