//! Publisher and consumer replaced one after another, for each way to change an event (docs/guides/changing-an-event.md).

use std::time::Duration;

use inbox::{ConsumerBuilder, Context, HandlerError};
use outbox::{Event, Outbox};
use postroom_testkit::{Login, RelayProcess, Stack, eventually};
use serde::{Deserialize, Serialize};

use crate::world::{Broker, Database, Placed, Running, World, insert_effect};

/// The event with a further field, which consumers can do without.
#[derive(Debug, Serialize, Deserialize)]
struct WithCoupon {
    n: i64,
    customer: String,
    #[serde(default)]
    coupon: Option<String>,
}

/// The event with another shape and the same meaning.
#[derive(Debug, Serialize, Deserialize)]
struct SecondVersion {
    number: i64,
    buyer: String,
}

/// Another event of the same topic.
#[derive(Debug, Serialize, Deserialize)]
struct Reserved {
    n: i64,
    customer: String,
}

impl Event for WithCoupon {
    const TOPIC: &'static str = "orders.placed";

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

impl Event for SecondVersion {
    const TOPIC: &'static str = "orders.placed";
    const VERSION: u32 = 2;

    fn key(&self) -> Option<String> {
        Some(self.buyer.clone())
    }
}

impl Event for Reserved {
    const TOPIC: &'static str = "orders.placed";
    const TYPE: &'static str = "orders.reserved";

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

async fn placed(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

async fn with_coupon(mut ctx: Context, event: WithCoupon) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &Placed::new(&event.customer, event.n)).await?;
    Ok(())
}

async fn second_version(mut ctx: Context, event: SecondVersion) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &Placed::new(&event.buyer, event.number)).await?;
    Ok(())
}

async fn reserved(mut ctx: Context, event: Reserved) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &Placed::new(&event.customer, event.n)).await?;
    Ok(())
}

/// A publishing service with its relay, and the database and broker of a consuming service.
struct Deployment {
    world: World,
    publisher: sqlx::PgPool,
    _relay: RelayProcess,
}

impl Deployment {
    async fn new() -> Self {
        let stack = Stack::new().await;
        let relay = stack.relay().await;
        let publisher = outbox::pool::options().max_connections(2);
        let publisher = publisher
            .connect_lazy(&stack.database.url(Login::Producer))
            .unwrap();
        let Stack { database, broker } = stack;
        Self {
            world: World {
                database: Database::new(database).await,
                broker: Broker::new(broker).await,
            },
            publisher,
            _relay: relay,
        }
    }

    fn consumer(&self) -> ConsumerBuilder {
        self.world.consumer().max_unhandled(Duration::from_mins(5))
    }

    async fn start(&self, builder: ConsumerBuilder) -> Running {
        Running::start(&self.world.broker, "billing", builder).await
    }

    async fn publish(&self, event: &(impl Event + Sync)) {
        let mut tx = outbox::transaction::begin(&self.publisher).await.unwrap();
        Outbox::new().publish(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Waits until the customer's orders were handled in this order, each once, and nothing is left.
    async fn handled(&self, expected: &[i64]) {
        let database = &self.world.database;
        eventually("all are handled, in their order", || async {
            database.effects("a").await == expected && database.parked().await.is_empty()
        })
        .await;
    }
}

fn coupon(n: i64) -> WithCoupon {
    WithCoupon {
        n,
        customer: "a".to_owned(),
        coupon: Some("WINTER".to_owned()),
    }
}

fn second(number: i64) -> SecondVersion {
    let buyer = "a".to_owned();
    SecondVersion { number, buyer }
}

#[tokio::test]
async fn a_compatible_change_is_deployed_in_any_order() {
    let deployment = Deployment::new().await;
    let old = deployment
        .start(deployment.consumer().on::<Placed, _, _>(placed))
        .await;
    deployment.publish(&Placed::new("a", 1)).await;
    deployment.publish(&coupon(2)).await;
    deployment.handled(&[1, 2]).await;
    old.stop().await;
    let new = deployment.consumer().on::<WithCoupon, _, _>(with_coupon);
    let new = deployment.start(new).await;
    deployment.publish(&coupon(3)).await;
    // The publisher is set back.
    deployment.publish(&Placed::new("a", 4)).await;
    deployment.handled(&[1, 2, 3, 4]).await;
    new.stop().await;
}

#[tokio::test]
async fn a_new_version_is_deployed_in_any_order_and_back() {
    let deployment = Deployment::new().await;
    let old = || deployment.consumer().on::<Placed, _, _>(placed);
    let new = || {
        let builder = deployment
            .consumer()
            .on::<SecondVersion, _, _>(second_version);
        builder.upcast::<SecondVersion, _, _>(1, |old: Placed| SecondVersion {
            number: old.n,
            buyer: old.customer,
        })
    };
    // The publisher first: the old consumer is active, and the new one stands by.
    let active = deployment.start(old()).await;
    deployment.publish(&Placed::new("a", 1)).await;
    deployment.publish(&second(2)).await;
    deployment.publish(&second(3)).await;
    let standby = Running::spawn(new());
    deployment.handled(&[1, 2, 3]).await;
    active.stop().await;
    deployment.publish(&Placed::new("a", 4)).await;
    deployment.publish(&second(5)).await;
    deployment.handled(&[1, 2, 3, 4, 5]).await;
    standby.stop().await;
    // The consumer is set back: messages of the new version wait for the next deployment.
    let old = deployment.start(old()).await;
    deployment.publish(&second(6)).await;
    deployment.publish(&Placed::new("a", 7)).await;
    eventually("both wait", || async {
        deployment.world.database.parked().await
            == ["newer_version/waiting/0/t", "behind/waiting/0/t"]
    })
    .await;
    old.stop().await;
    let new = deployment.start(new()).await;
    deployment.handled(&[1, 2, 3, 4, 5, 6, 7]).await;
    new.stop().await;
}

#[tokio::test]
async fn a_new_type_is_deployed_to_consumers_first() {
    let deployment = Deployment::new().await;
    let old = deployment
        .start(deployment.consumer().on::<Placed, _, _>(placed))
        .await;
    let new = deployment
        .consumer()
        .on::<Placed, _, _>(placed)
        .on::<Reserved, _, _>(reserved);
    let new = Running::spawn(new);
    deployment.publish(&Placed::new("a", 1)).await;
    // The old consumer is the active one until the new one has taken its place.
    let reserved = |n| Reserved {
        n,
        customer: "a".to_owned(),
    };
    deployment.publish(&reserved(2)).await;
    deployment.handled(&[1, 2]).await;
    old.stop().await;
    deployment.publish(&reserved(3)).await;
    deployment.publish(&Placed::new("a", 4)).await;
    deployment.handled(&[1, 2, 3, 4]).await;
    new.stop().await;
}
