//! Services that must be asked before they are called.

use inbox::{Context, Delivery, HandlerError, Incoming, Outcome, TransactionLayer};
use tower::{Layer as _, Service as _, ServiceExt as _, limit::ConcurrencyLimit, service_fn};
use uuid::Uuid;

use crate::world::{Placed, World, insert_effect};

/// A clone of a ready service is not ready; some panic when they are called all the same.
#[tokio::test]
async fn the_service_that_was_ready_is_called_and_not_its_clone() {
    let world = World::new().await;
    let handler = service_fn(|mut ctx: Context| async move {
        let event: Placed = serde_json::from_slice(ctx.body())?;
        insert_effect(&mut ctx, &event).await?;
        Ok::<_, HandlerError>(())
    });
    let limited = ConcurrencyLimit::new(handler, 1);
    let mut service = TransactionLayer::new(world.database.pool(2), "billing").layer(limited);
    for n in 1..=3 {
        let mut message = Incoming::default();
        message.message_id = Some(Uuid::now_v7().to_string());
        message.topic = "orders.placed".into();
        let body = serde_json::to_vec(&Placed::new("a", n)).unwrap();
        let ready = service.ready().await.unwrap();
        let outcome = ready.call(Delivery::new(message, body)).await;
        assert_eq!(outcome.unwrap(), Outcome::Handled);
    }
    assert_eq!(world.database.effects("a").await, [1, 2, 3]);
}
