//! Nothing has settled while a message is being handled, or while no consumer runs.

use std::sync::Arc;

use inbox::{ConsumerBuilder, Context, HandlerError};
use postroom_testkit::{Settled, VirtualHost};
use tokio::sync::{Semaphore, mpsc};

use crate::world::{Invoiced, Placed, Running, Service, bound, proven, refused};

/// Adds a handler that says that it runs, waits until it may go on, and publishes.
fn blocked(
    builder: ConsumerBuilder,
    started: mpsc::UnboundedSender<()>,
    go_on: Arc<Semaphore>,
) -> ConsumerBuilder {
    let handler = move |mut ctx: Context, placed: Placed| {
        let (started, go_on) = (started.clone(), Arc::clone(&go_on));
        async move {
            started.send(()).unwrap();
            go_on.acquire().await.unwrap().forget();
            ctx.publish(&Invoiced { n: placed.n }).await?;
            Ok::<_, HandlerError>(())
        }
    };
    builder.on::<Placed, _, _>(handler)
}

#[tokio::test]
async fn a_message_that_is_being_handled_has_not_settled_and_neither_has_what_its_handler_publishes()
 {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relays = (orders.relay().await, billing.relay().await);
    let (started, mut starts) = mpsc::unbounded_channel();
    let go_on = Arc::new(Semaphore::new(0));
    let builder = blocked(billing.consumer().await, started, Arc::clone(&go_on));
    let running = Running::start(builder);
    bound(&broker, "billing", "orders.placed").await;
    orders.publish(&Placed { n: 1 }).await;
    starts.recv().await.unwrap();
    let everything = || {
        Settled::new()
            .outbox("orders", &orders.pool)
            .outbox("billing", &billing.pool)
            .consumer(billing.takes("orders.#"))
            .consumer(orders.takes("billing.#"))
    };
    orders.stack.delivered().await;
    let report = refused(everything()).await;
    assert!(
        report.contains("billing: on its way: published"),
        "{report}"
    );
    go_on.add_permits(1);
    // Of the invoice, whose queue does not exist.
    let report = refused(everything()).await;
    assert!(
        report.contains("1 of 2 messages have not settled"),
        "{report}"
    );
    assert!(report.contains("billing.invoiced"), "{report}");
    running.stop().await;
}

#[tokio::test]
async fn a_consumer_that_is_killed_settles_nothing_until_another_handles_the_message() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let go_on = Arc::new(Semaphore::new(0));
    let next = async || {
        blocked(
            billing.consumer().await,
            started.clone(),
            Arc::clone(&go_on),
        )
    };
    let running = Running::start(next().await);
    bound(&broker, "billing", "orders.placed").await;
    for n in [1, 2] {
        orders.publish(&Placed { n }).await;
    }
    starts.recv().await.unwrap();
    orders.stack.delivered().await;
    running.kill().await;
    let everything = || {
        Settled::new()
            .outbox("orders", &orders.pool)
            .consumer(billing.takes("orders.#"))
    };
    let report = refused(everything()).await;
    assert!(
        report.contains("2 of 2 messages have not settled"),
        "{report}"
    );
    go_on.add_permits(2);
    let running = Running::start(next().await);
    assert_eq!(proven(everything()).await.messages, 2);
    running.stop().await;
}
