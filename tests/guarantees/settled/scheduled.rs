//! A scheduled message has not settled before its time.

use inbox::{Context, HandlerError};
use postroom_testkit::{Settled, VirtualHost};

use crate::world::{Placed, Running, Service, bound, proven, refused};

async fn accept(_: Context, _: Placed) -> Result<(), HandlerError> {
    Ok(())
}

#[tokio::test]
async fn a_scheduled_message_is_named_with_its_time_and_settles_afterwards() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    let running = Running::start(billing.consumer().await.on::<Placed, _, _>(accept));
    bound(&broker, "billing", "orders.placed").await;
    orders
        .publish_sql("'orders.placed', '{\"n\": 1}', deliver_after => now() + interval '3 seconds'")
        .await;
    let everything = || {
        Settled::new()
            .outbox("orders", &orders.pool)
            .consumer(billing.takes("orders.placed"))
    };
    let report = refused(everything()).await;
    assert!(report.contains("billing: waiting until 20"), "{report}");
    proven(everything()).await;
    let handled = "SELECT count(*) FROM inbox.processed WHERE consumer = 'billing'";
    assert_eq!(billing.count(handled).await, 1);
    running.stop().await;
}
