//! A layer inside the transaction sets the tenant for everything that the handler does.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, HandlerService};
use tower::{ServiceExt as _, layer::layer_fn, service_fn};

async fn set_tenant(mut ctx: Context) -> sqlx::Result<Context> {
    let tenant = ctx
        .message()
        .headers
        .text("tenant")
        .unwrap_or("none")
        .to_owned();
    sqlx::query("SELECT set_config('example.tenant', $1, true)")
        .bind(tenant)
        .execute(ctx.connection())
        .await?;
    Ok(ctx)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let order = outbox::Message::event(&OrderPlaced::new(1, "ann"))?.header("tenant", "north")?;
    let mut tx = outbox::transaction::begin(&pool).await?;
    outbox::Outbox::new().publish(&mut tx, order).await?;
    tx.commit().await?;

    let countdown = Countdown::new(1);
    let counts = countdown.clone();
    let handler = move |mut ctx: Context, order: OrderPlaced| {
        let counts = counts.clone();
        async move {
            let insert = "INSERT INTO orders (id, tenant)
                          VALUES ($1, current_setting('example.tenant')) RETURNING tenant";
            let inserting = sqlx::query_scalar(insert).bind(order.id);
            let tenant: String = inserting.fetch_one(ctx.connection()).await?;
            println!("order {} belongs to the tenant {tenant}", order.id);
            counts.count(1);
            Ok::<_, HandlerError>(())
        }
    };
    let tenants = layer_fn(|inner: HandlerService| {
        service_fn(move |ctx: Context| {
            let inner = inner.clone();
            async move { inner.oneshot(set_tenant(ctx).await?).await }
        })
    });
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<OrderPlaced, _, _>(handler)
        .layer(tenants)
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
