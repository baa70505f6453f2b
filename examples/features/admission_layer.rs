//! An admission layer limits how many messages are in a transaction at a time, here to one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError};
use tower::limit::GlobalConcurrencyLimitLayer;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let customers = ["ann", "bob", "cid", "dot"];
    let orders = (1..)
        .zip(customers)
        .map(|(id, customer)| OrderPlaced::new(id, customer));
    example::place(&pool, orders.collect()).await?;

    let countdown = Countdown::new(customers.len());
    let (counts, busy) = (countdown.clone(), Arc::new(AtomicUsize::new(0)));
    let handler = move |_: Context, order: OrderPlaced| {
        let (counts, busy) = (counts.clone(), Arc::clone(&busy));
        async move {
            let others = busy.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            println!("order {} is handled beside {others} others", order.id);
            busy.fetch_sub(1, Ordering::SeqCst);
            counts.count(1);
            Ok::<_, HandlerError>(())
        }
    };
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<OrderPlaced, _, _>(handler)
        .admission_layer(GlobalConcurrencyLimitLayer::new(1))
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
