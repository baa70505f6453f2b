//! Handlers that publish: the messages that follow have to settle too.

use inbox::{Context, HandlerError};
use postroom_testkit::{Settled, VirtualHost};

use crate::world::{Invoiced, Placed, Running, Service, bound, proven, refused};

async fn invoice(mut ctx: Context, placed: Placed) -> Result<(), HandlerError> {
    ctx.publish(&Invoiced { n: placed.n }).await?;
    Ok(())
}

/// Places further orders, until the tenth.
async fn order_again(mut ctx: Context, invoiced: Invoiced) -> Result<(), HandlerError> {
    if invoiced.n < 10 {
        let n = invoiced.n + 1;
        ctx.publish(&Placed { n }).await?;
    }
    Ok(())
}

#[tokio::test]
async fn messages_that_go_in_a_circle_between_two_services_settle_with_the_last_one() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relays = (orders.relay().await, billing.relay().await);
    let placing = Running::start(orders.consumer().await.on::<Invoiced, _, _>(order_again));
    let invoicing = Running::start(billing.consumer().await.on::<Placed, _, _>(invoice));
    bound(&broker, "billing", "orders.placed").await;
    bound(&broker, "orders", "billing.invoiced").await;
    orders.publish(&Placed { n: 1 }).await;
    let everything = Settled::new()
        .outbox("orders", &orders.pool)
        .outbox("billing", &billing.pool)
        .consumer(billing.takes("orders.#"))
        .consumer(orders.takes("billing.#"));
    assert_eq!(proven(everything).await.messages, 20);
    placing.stop().await;
    invoicing.stop().await;
}

#[tokio::test]
async fn a_message_that_is_missing_stands_below_the_message_that_caused_it() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    // The relay of billing does not run, so the invoice stays in its outbox.
    let invoicing = Running::start(billing.consumer().await.on::<Placed, _, _>(invoice));
    bound(&broker, "billing", "orders.placed").await;
    orders.publish(&Placed { n: 1 }).await;
    let first = Settled::new()
        .outbox("orders", &orders.pool)
        .consumer(billing.takes("orders.#"));
    proven(first).await;
    let everything = Settled::new()
        .outbox("orders", &orders.pool)
        .outbox("billing", &billing.pool)
        .consumer(billing.takes("orders.#"))
        .consumer(orders.takes("billing.#"));
    let report = refused(everything).await;
    let lines: Vec<&str> = report.lines().skip(1).collect();
    assert!(
        lines[0].contains("orders.placed (outbox of orders, position 1): settled"),
        "{report}"
    );
    assert!(
        lines[1].starts_with("    0") && lines[1].contains("billing.invoiced"),
        "{report}"
    );
    assert!(
        lines[2].contains("        orders: in the outbox"),
        "{report}"
    );
    assert_eq!(lines.len(), 3, "{report}");
    invoicing.stop().await;
}
