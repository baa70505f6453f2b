//! Shared transactions beside other processes, and at the end of the consumer.

use std::{collections::HashMap, time::Duration};

use inbox::{Context, HandlerError};
use postroom_testkit::eventually;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    together::waiting,
    world::{Log, Placed, Running, World},
};

/// Returns the transaction of a consumer's session, and the time since which the session is idle.
const IDLE: &str = "SELECT concat_ws(' ', backend_xid, state_change) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'postroom_test_consumer'
                      AND state = 'idle in transaction' AND backend_xid IS NOT NULL";

/// Other processes take a session that says nothing for one whose process is frozen, and end it: one handler may
/// take its time, and so may many after one another.
#[tokio::test]
async fn a_shared_transaction_whose_handlers_use_no_database_shows_that_it_lives() {
    let world = World::new().await;
    waiting(&world, 6, 1).await;
    let admin = world.database.admin.clone();
    let log = Log::default();
    let seen = log.clone();
    let handler = move |_: Context, _: Placed| {
        let (admin, seen) = (admin.clone(), seen.clone());
        async move {
            let sessions: Vec<String> = sqlx::query_scalar(IDLE).fetch_all(&admin).await?;
            // As another service would.
            sleep(Duration::from_millis(1_200)).await;
            seen.add(sessions.concat());
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world.consumer().workers(1).messages_per_transaction(10);
    let builder = builder.on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("all are handled", async || log.lines().len() == 6).await;
    running.stop().await;
    let mut shared = HashMap::<_, Vec<_>>::new();
    for line in log.lines() {
        let (transaction, since) = line.split_once(' ').unwrap();
        let times = shared.entry(transaction.to_owned()).or_default();
        times.push(since.to_owned());
    }
    let largest = shared.into_values().max_by_key(Vec::len).unwrap();
    assert!(largest.len() > 2, "{largest:?}");
    assert!(largest.is_sorted_by(|a, b| a < b), "{largest:?}");
}

/// Each would run by itself, one after another, for as long as the grace period lasts.
#[tokio::test]
async fn after_the_shutdown_the_messages_of_a_failed_transaction_are_left() {
    let world = World::new().await;
    waiting(&world, 10, 1).await;
    let log = Log::default();
    let (opened, stopped) = (CancellationToken::new(), CancellationToken::new());
    let (seen, opens, stops) = (log.clone(), opened.clone(), stopped.clone());
    let handler = move |_: Context, event: Placed| {
        seen.add(if stops.is_cancelled() {
            "after"
        } else {
            "before"
        });
        let (opened, stopped) = (opens.clone(), stops.clone());
        async move {
            // Behind the first one the others gather.
            if event.n == 0 {
                opened.cancelled().await;
                return Ok(());
            }
            stopped.cancelled().await;
            Err(HandlerError::reject("the service is gone"))
        }
    };
    let builder = world.consumer().workers(1).messages_per_transaction(10);
    let builder = builder.on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("all have come", async || {
        world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
    opened.cancel();
    eventually("the second handler runs", async || log.count("before") == 2).await;
    running.begin_stop();
    // All that runs on this thread has been told by the time that the broker answers.
    world.broker.queue("billing").await;
    stopped.cancel();
    running.stop().await;
    assert_eq!(log.count("after"), 0);
    assert!(world.database.parked().await.is_empty());
}
