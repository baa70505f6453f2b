//! A consumer with partitions, as a user of few rights.

use postroom_testkit::{Login, Stack, eventually};

use crate::{
    consumer::{self, Running, bound, handled},
    documented::{self, PARTITIONED},
    table::publish,
};

/// Waits until the layout has this number of partitions and is not being changed.
async fn ready(stack: &Stack, partitions: i16) {
    let owner = stack.database.pool(Login::Owner).await;
    eventually(&format!("there are {partitions} partitions"), async || {
        let ready: Option<i16> =
            sqlx::query_scalar("SELECT partitions FROM inbox.partitions WHERE step = 'ready'")
                .fetch_optional(&owner)
                .await
                .unwrap();
        ready == Some(partitions)
    })
    .await;
}

#[tokio::test]
async fn a_consumer_with_the_documented_rights_introduces_changes_and_leaves_partitions() {
    let stack = Stack::new().await;
    consumer::prepare(&stack.database).await;
    let _relay = stack.relay().await;
    let user = documented::partitioned(&stack);
    let plain = Running::start(&stack, PARTITIONED, &user);
    bound(&stack, PARTITIONED).await;
    publish(&stack, 0..5).await;
    handled(&stack, PARTITIONED, 0..5).await;
    plain.stop().await;
    for (partitions, numbers) in [(2, 5..10), (3, 10..15)] {
        publish(&stack, numbers.clone()).await;
        let running = Running::start_with(&stack, PARTITIONED, &user, |builder| {
            builder.partitions(partitions)
        });
        ready(&stack, partitions.into()).await;
        handled(&stack, PARTITIONED, 0..numbers.end).await;
        running.stop().await;
    }
    publish(&stack, 15..20).await;
    let running = Running::start(&stack, PARTITIONED, &user);
    ready(&stack, 0).await;
    handled(&stack, PARTITIONED, 0..20).await;
    running.stop().await;
}
