//! Exchanges and bindings that are deleted beside a running consumer.

use std::sync::atomic::{AtomicI64, Ordering};

use inbox::{Context, HandlerError};
use lapin::types::FieldTable;
use postroom_testkit::eventually;

use crate::world::{Placed, Running, World, insert_effect};

async fn placed(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// While another queue is bound, no message is unroutable: messages that do not reach this queue are lost silently.
#[tokio::test]
async fn g3_a_consumer_binds_its_queue_again_beside_another_that_is_bound() {
    let world = World::new().await;
    let start = |queue: &'static str| {
        let builder = world.consumer().queue(queue).on::<Placed, _, _>(placed);
        Running::start(&world.broker, queue, builder)
    };
    let running = start("billing").await;
    let handled = AtomicI64::new(0);
    let is_handled = async || {
        let n = handled.fetch_add(1, Ordering::Relaxed);
        world.broker.publish(&Placed::new("a", n)).await;
        !world.database.effects("a").await.is_empty()
    };
    eventually("messages come", is_handled).await;
    for exchange_too in [false, true] {
        let channel = world.broker.channel().await;
        if exchange_too {
            let path = format!("exchanges/{}/postroom", world.broker.vhost.name);
            world.broker.vhost.request("DELETE", &path, None);
            // The relay declares it again.
            world.broker.vhost.declare_exchange();
        } else {
            let (queue, exchange, topic) =
                ("billing".into(), "postroom".into(), "orders.placed".into());
            let unbind = channel.queue_unbind(queue, exchange, topic, FieldTable::default());
            unbind.await.unwrap();
        }
        // A consumer of another queue is restarted, and binds its own queue.
        start("audit").await.stop().await;
        world.database.execute("TRUNCATE effect").await;
        eventually("messages come again", is_handled).await;
    }
    running.stop().await;
}
