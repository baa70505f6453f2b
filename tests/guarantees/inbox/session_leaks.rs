//! Settings and objects that handlers leave in their sessions.

use inbox::{Context, Delivery, DeliveryService, HandlerError};
use postroom_testkit::{eventually, unique};
use sqlx::AssertSqlSafe;
use tower::{ServiceExt as _, layer::layer_fn, service_fn};

use crate::world::{Log, Placed, Running, World, insert_effect};

/// Number of sessions that were ended by others.
const KILLED: &str =
    "SELECT sessions_killed FROM pg_stat_database WHERE datname = current_database()";

/// A role that lasts as long as the session, and may do nothing in the inbox.
async fn a_role_is_left(together: usize) {
    let world = World::new().await;
    let role = unique("postroom_tenant");
    let sql = format!(
        "CREATE ROLE {role}; GRANT {role} TO postroom_test_consumer;
         GRANT ALL ON effect TO {role}; GRANT ALL ON SEQUENCE effect_seq_seq TO {role}"
    );
    let admin = &world.database.admin;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(admin)
        .await
        .unwrap();
    let name = role.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let take = format!("SET ROLE {name}");
        async move {
            sqlx::raw_sql(AssertSqlSafe(take))
                .execute(ctx.connection())
                .await?;
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    // No more sessions than are spoilt.
    let builder = world
        .consumer()
        .workers(1)
        .messages_per_transaction(together)
        .database(world.database.pool(3))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..6 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("all are handled", async || {
        world.database.effects("a").await == [0, 1, 2, 3, 4, 5]
    })
    .await;
    // The first six may have shared one transaction: a further message meets the role.
    eventually("its sessions were ended", async || {
        world.broker.publish(&Placed::new("b", 6)).await;
        world.database.count(KILLED).await > 0
    })
    .await;
    running.stop().await;
    let sql = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(admin)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_role_that_a_handler_leaves_costs_its_session() {
    a_role_is_left(1).await;
}

#[tokio::test]
async fn a_role_that_a_handler_of_a_shared_transaction_leaves_costs_its_session() {
    a_role_is_left(10).await;
}

/// A new session would have no more rights; and one for each attempt would be a storm of them.
#[tokio::test]
async fn a_login_without_the_right_keeps_its_sessions() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let count = move |inner: DeliveryService| {
        let seen = seen.clone();
        service_fn(move |delivery: Delivery| {
            seen.add("attempt");
            inner.clone().oneshot(delivery)
        })
    };
    let handler = async |mut ctx: Context, event: Placed| {
        Ok::<_, HandlerError>(insert_effect(&mut ctx, &event).await?)
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let builder = builder.admission_layer(layer_fn(count));
    let running = Running::start(&world.broker, "billing", builder).await;
    let revoke = "REVOKE INSERT ON inbox.processed FROM inbox_consumer";
    world.database.execute(revoke).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it has tried", async || log.count("attempt") > 4).await;
    let grant = "GRANT INSERT ON inbox.processed TO inbox_consumer";
    world.database.execute(grant).await;
    eventually("it is handled", async || {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    assert_eq!(world.database.count(KILLED).await, 0);
}
