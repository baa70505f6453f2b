//! A rehearsed delivery leaves nothing.

use inbox::{Context, DeliveryService, HandlerError, Outcome, Reason};
use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};

use crate::world::{Placed, World, delivery, invoice};

#[tokio::test]
async fn g1_nothing_remains_of_a_rehearsal() {
    let world = World::new().await;
    let limited = |service: DeliveryService| {
        let layers = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1));
        DeliveryService::new(layers.service(service))
    };
    let plain = world.consumer().on::<Placed, _, _>(invoice);
    let layered = world.consumer().on::<Placed, _, _>(invoice);
    let layered = layered
        .admission_layer(tower::layer::layer_fn(limited))
        .messages_per_transaction(1);
    for consumer in [plain, layered] {
        let consumer = consumer.build().unwrap();
        let delivery = delivery(7);
        for _ in 0..2 {
            let rehearsed = consumer.rehearse(delivery.clone()).await.unwrap();
            assert_eq!(rehearsed, Outcome::Handled);
        }
        for table in ["invoice", "outbox.message", "inbox.processed"] {
            assert_eq!(world.count(table).await, 0, "{table}");
        }
    }
}

async fn breaks_a_deferred_constraint(mut ctx: Context, _: Placed) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO line (invoice) VALUES (1)")
        .execute(ctx.connection())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_rehearsal_fails_where_the_commit_would() {
    let world = World::new().await;
    let tables = "CREATE TABLE bill (id bigint PRIMARY KEY);
                  CREATE TABLE line (invoice bigint REFERENCES bill DEFERRABLE INITIALLY DEFERRED)";
    world.ddl(tables).await;
    let consumer = world.consumer();
    let consumer = consumer.on::<Placed, _, _>(breaks_a_deferred_constraint);
    let consumer = consumer.build().unwrap();
    let rehearsed = consumer.rehearse(delivery(1)).await.unwrap_err();
    let handled = consumer.handle(delivery(1)).await.unwrap_err();
    assert_eq!(rehearsed.to_string(), handled.to_string());
    assert_eq!(rehearsed.reason(), Some(Reason::Failed));
    assert!(rehearsed.to_string().contains("foreign key"), "{rehearsed}");
}
