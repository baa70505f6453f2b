//! Handlers that take a state and properties of their message.

use inbox::{
    BatchContext, Context, HandlerError, Received,
    extract::{Attempt, CausationId, FromRef, Id, OrderingKey, State},
};
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties};

#[derive(Clone)]
struct App {
    log: Log,
    shop: &'static str,
}

impl FromRef<App> for Log {
    fn from_ref(app: &App) -> Self {
        app.log.clone()
    }
}

fn app() -> App {
    App {
        log: Log::default(),
        shop: "north",
    }
}

#[tokio::test]
async fn a_handler_takes_the_state_and_properties_of_its_message() {
    async fn keep(
        mut ctx: Context,
        State(app): State<App>,
        Id(id): Id,
        OrderingKey(key): OrderingKey,
        cause: Option<CausationId>,
        Attempt(attempt): Attempt,
        event: Placed,
    ) -> Result<(), HandlerError> {
        let line = format!("{} {id} {key} {cause:?} {attempt}", app.shop);
        app.log.add(line);
        if attempt == 1 {
            return Err(HandlerError::retry("once more"));
        }
        Ok(insert_effect(&mut ctx, &event).await?)
    }
    let world = World::new().await;
    let app = app();
    let builder = world.consumer().with_state(app.clone()).on(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    let id = world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    let attempt = |n| format!("north {id} a None {n}");
    assert_eq!(app.log.lines(), [attempt(1), attempt(2)]);
}

#[tokio::test]
async fn a_message_without_a_property_that_its_handler_takes_is_rejected() {
    async fn keep(
        mut ctx: Context,
        _: OrderingKey,
        State(log): State<Log>,
        event: Placed,
    ) -> Result<(), HandlerError> {
        log.add("called");
        Ok(insert_effect(&mut ctx, &event).await?)
    }
    let world = World::new().await;
    let app = app();
    let builder = world.consumer().with_state(app.clone()).on(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    let unordered = properties(Uuid::now_v7(), None, "orders.placed");
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world.broker.publish_raw(unordered, &body).await;
    eventually("it is dead at once", || async {
        world.database.parked().await == ["rejected/dead/1/f"]
    })
    .await;
    running.stop().await;
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(errors[0].contains("cloudEvents_partitionkey"), "{errors:?}");
    assert!(app.log.lines().is_empty(), "the handler was called");
}

#[tokio::test]
async fn a_batch_handler_takes_the_state() {
    async fn count(
        _: BatchContext,
        State(app): State<App>,
        State(log): State<Log>,
        events: Vec<Received<Placed>>,
    ) -> Result<(), HandlerError> {
        for placed in events {
            log.add(format!("{} {}", app.shop, placed.event.n));
        }
        Ok(())
    }
    let world = World::new().await;
    let app = app();
    let builder = world.consumer().with_state(app.clone()).on_many(count);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    world.broker.publish(&Placed::new("a", 2)).await;
    eventually("both are handled", || async {
        app.log.count("north 1") > 0 && app.log.count("north 2") > 0
    })
    .await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
}
