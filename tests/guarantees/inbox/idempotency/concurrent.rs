//! Events of one meaning that are handled at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use inbox::{Context, HandlerError};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use tokio::time::sleep;

use super::{RECORDED_IDS, WAITING, assert_no_failure, consumer, effects, hold, keep, waits};
use crate::world::{Log, Placed, Running, World, insert_effect, metric};

/// The statement of a consumer that has waited for longer than a handler may take.
const WAITING_LONG: &str = "
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query LIKE '%INTO inbox.idempotency_key%'
  AND clock_timestamp() - query_start > interval '1200 ms'";

#[tokio::test]
async fn g5_two_processes_with_one_key_at_once_have_one_effect() {
    both_at_once(&World::new().await).await;
}

/// The one that waited gets a serialization error, and runs again.
#[tokio::test]
async fn g5_two_processes_with_one_key_at_once_have_one_effect_at_repeatable_read() {
    let world = World::new().await;
    world
        .database
        .execute(
            "DO $$ BEGIN
                 EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L',
                                current_database(), 'repeatable read');
             END $$",
        )
        .await;
    both_at_once(&world).await;
}

async fn both_at_once(world: &World) {
    let log = Log::default();
    let builder = |queue: &str| {
        let (log, admin) = (log.clone(), world.database.admin.clone());
        let handler = move |mut ctx: Context, event: Placed| {
            let (log, admin) = (log.clone(), admin.clone());
            async move {
                log.add(format!("began {}", event.n));
                insert_effect(&mut ctx, &event).await?;
                // The handler's time limit ends the wait.
                while !waits(&admin).await {
                    sleep(Duration::from_millis(10)).await;
                }
                Ok::<_, HandlerError>(())
            }
        };
        consumer(world).queue(queue).on::<Placed, _, _>(handler)
    };
    // Two queues and pools: the broker delivers each message to both at once.
    let first = Running::start(&world.broker, "first", builder("first")).await;
    let second = Running::start(&world.broker, "second", builder("second")).await;
    for n in 0..5 {
        for customer in ["a", "b"] {
            world.broker.publish(&Placed::new(customer, n)).await;
        }
        eventually("both are recorded", || async {
            world.database.count(RECORDED_IDS).await == 2 * (n + 1)
        })
        .await;
    }
    eventually("all are acknowledged", || async {
        world.broker.queue("first").await == Some((0, 1))
            && world.broker.queue("second").await == Some((0, 1))
    })
    .await;
    first.stop().await;
    second.stop().await;
    world.broker.settled("first").await;
    world.broker.settled("second").await;
    for n in 0..5 {
        assert_eq!(log.count(&format!("began {n}")), 1);
    }
    assert_eq!(effects(world).await.len(), 5);
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn g5_an_event_that_waited_for_a_key_is_handled_if_the_first_fails() {
    let world = World::new().await;
    let log = Log::default();
    let (seen, admin) = (log.clone(), world.database.admin.clone());
    let handler = move |mut ctx: Context, event: Placed| {
        let (seen, admin) = (seen.clone(), admin.clone());
        async move {
            seen.add(event.customer.clone());
            insert_effect(&mut ctx, &event).await?;
            if seen.lines().len() > 1 {
                return Ok(());
            }
            while !waits(&admin).await {
                sleep(Duration::from_millis(10)).await;
            }
            Err(HandlerError::reject("never"))
        }
    };
    let builder = consumer(&world).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["a", "b"] {
        world.broker.publish(&Placed::new(customer, 1)).await;
    }
    eventually("one is dead, and the other is handled", || async {
        effects(&world).await.len() == 1 && world.database.parked().await == ["rejected/dead/1/t"]
    })
    .await;
    running.stop().await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(effects(&world).await, [format!("{} 1", lines[1])]);
}

/// The handler of another message may take all of its time, and then fail.
#[tokio::test]
async fn the_wait_for_a_key_takes_no_time_of_the_handler() {
    let world = World::new().await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = consumer(&world)
        .handler_timeout(Duration::from_secs(1))
        .attempts_in_place(1)
        .on(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    for (n, key) in [(1, "order 1"), (2, "order 2")] {
        let holding = hold(&world, key).await;
        world.broker.publish(&Placed::new("a", n)).await;
        eventually("it waits for longer than a handler may take", || async {
            world.database.count(WAITING_LONG).await == 1
        })
        .await;
        if n == 1 {
            holding.rollback().await.unwrap();
        } else {
            holding.commit().await.unwrap();
        }
        super::recorded(&world, n).await;
    }
    running.stop().await;
    assert_eq!(effects(&world).await, ["a 1"]);
    assert_no_failure(&recorder);
    let counted = recorder.handle().render();
    let duplicates = metric(&counted, "postroom_inbox_duplicate_keys_total");
    assert_eq!(duplicates, Some(1.0), "{counted}");
}

#[tokio::test]
async fn g5_a_connection_that_is_lost_before_the_commit_leaves_no_key() {
    let world = World::new().await;
    let first = Arc::new(AtomicBool::new(true));
    let handler = move |mut ctx: Context, event: Placed| {
        let first = Arc::clone(&first);
        async move {
            insert_effect(&mut ctx, &event).await?;
            if first.swap(false, Ordering::SeqCst) {
                sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())")
                    .execute(ctx.connection())
                    .await?;
            }
            Ok::<_, HandlerError>(())
        }
    };
    let builder = consumer(&world)
        .attempts_in_place(1)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["a", "b", "c"] {
        world.broker.publish(&Placed::new(customer, 1)).await;
    }
    super::recorded(&world, 3).await;
    running.stop().await;
    assert_eq!(effects(&world).await.len(), 1);
    assert!(world.database.parked().await.is_empty());
}

/// The database's failure is none of the handler's: no attempt is counted.
#[tokio::test]
async fn a_connection_that_is_lost_while_a_key_is_waited_for_is_no_failure() {
    let world = World::new().await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = consumer(&world).attempts_in_place(1).on(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    let holding = hold(&world, "order 1").await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it waits", || async {
        world.database.count(WAITING).await == 1
    })
    .await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE '%INTO inbox.idempotency_key%'
                 AND wait_event_type = 'Lock'";
    assert_eq!(world.database.count(end).await, 1);
    eventually("it waits again", || async {
        world.database.count(WAITING).await == 1
    })
    .await;
    holding.rollback().await.unwrap();
    super::recorded(&world, 1).await;
    running.stop().await;
    assert_eq!(effects(&world).await, ["a 1"]);
    assert_no_failure(&recorder);
}
