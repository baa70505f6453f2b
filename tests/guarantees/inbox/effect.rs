//! G5: a handler's writes, its record and its messages commit together, once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use inbox::{Context, HandlerError};
use sqlx::{Connection, PgPool};
use tokio::time::sleep;
use uuid::Uuid;

use postroom_testkit::eventually;

use crate::world::{Log, Placed, Running, Shipped, World, insert_effect};

async fn ship(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    ctx.publish(&Shipped { n: event.n }).await?;
    Ok(())
}

#[tokio::test]
async fn g5_the_effect_happens_once_however_often_a_message_comes() {
    let world = World::new().await;
    let builder = world.consumer().on::<Placed, _, _>(ship);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..40 {
        let event = Placed::new(&format!("c{}", n % 5), n);
        let id = Uuid::now_v7();
        for _ in 0..3 {
            world.broker.publish_as(id, &event).await;
        }
    }
    eventually("all are acknowledged", || async {
        world.database.count("SELECT count(*) FROM effect").await == 40
            && world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    let distinct = "SELECT count(DISTINCT n) FROM effect";
    assert_eq!(world.database.count(distinct).await, 40);
    let shipped = "SELECT count(*) FROM outbox.message";
    assert_eq!(world.database.count(shipped).await, 40);
    let recorded = "SELECT count(*) FROM inbox.processed";
    assert_eq!(world.database.count(recorded).await, 40);
}

#[tokio::test]
async fn g5_follow_ups_name_their_cause() {
    let world = World::new().await;
    let builder = world.consumer().on::<Placed, _, _>(ship);
    let running = Running::start(&world.broker, "billing", builder).await;
    let id = world.broker.publish(&Placed::new("a", 1)).await;
    let causes = "SELECT headers->>'causation_id' FROM outbox.message";
    eventually("the follow-up is there", || async {
        world.database.texts(causes).await == [id.to_string()]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn g5_a_failed_handler_leaves_nothing() {
    let world = World::new().await;
    let builder =
        world
            .consumer()
            .on::<Placed, _, _>(|mut ctx: Context, event: Placed| async move {
                insert_effect(&mut ctx, &event).await?;
                ctx.publish(&Shipped { n: event.n }).await?;
                Err::<(), _>(HandlerError::reject("no such customer"))
            });
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is parked", || async {
        world.database.parked().await == ["rejected/dead/1/t"]
    })
    .await;
    running.stop().await;
    assert_eq!(world.database.count("SELECT count(*) FROM effect").await, 0);
    let shipped = "SELECT count(*) FROM outbox.message";
    assert_eq!(world.database.count(shipped).await, 0);
    // Parking recorded the id: a redelivery is a duplicate.
    let recorded = "SELECT count(*) FROM inbox.processed";
    assert_eq!(world.database.count(recorded).await, 1);
}

/// Returns `true` if a session waits for another one's record of an id.
async fn someone_waits(admin: &PgPool) -> bool {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'
                     AND query LIKE '%INTO inbox.processed%'";
    let waiting = sqlx::query_scalar(waiting).fetch_one(admin).await;
    waiting.is_ok_and(|waiting: i64| waiting == 1)
}

#[tokio::test]
async fn g5_two_processes_with_the_same_message_have_one_effect() {
    let world = World::new().await;
    let log = Log::default();
    let builder = |queue: &str| {
        let (log, admin) = (log.clone(), world.database.admin.clone());
        let handler = move |mut ctx: Context, event: Placed| {
            let (log, admin) = (log.clone(), admin.clone());
            async move {
                log.add("began");
                insert_effect(&mut ctx, &event).await?;
                // The handler's time limit ends the wait.
                while !someone_waits(&admin).await {
                    sleep(Duration::from_millis(10)).await;
                }
                Ok::<_, HandlerError>(())
            }
        };
        world.consumer().queue(queue).on::<Placed, _, _>(handler)
    };
    // Two queues, so that the broker delivers it to both at once.
    let first = Running::start(&world.broker, "first", builder("first")).await;
    let second = Running::start(&world.broker, "second", builder("second")).await;
    for n in 0..5 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("all are acknowledged", || async {
        world.database.effects("a").await.len() == 5
            && world.broker.queue("first").await == Some((0, 1))
            && world.broker.queue("second").await == Some((0, 1))
    })
    .await;
    first.stop().await;
    second.stop().await;
    world.broker.settled("first").await;
    world.broker.settled("second").await;
    assert_eq!(log.count("began"), 5);
    assert_eq!(world.database.effects("a").await.len(), 5);
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn a_conflict_is_run_again_and_is_no_failure() {
    let world = World::new().await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let handler = move |mut ctx: Context, event: Placed| {
        let tries = Arc::clone(&counted);
        async move {
            assert_eq!(ctx.attempt(), 1);
            insert_effect(&mut ctx, &event).await?;
            let code = match tries.fetch_add(1, Ordering::SeqCst) {
                0 => "40001",
                1 => "40P01",
                _ => return Ok(()),
            };
            let raise = format!("DO $$ BEGIN RAISE 'again' USING ERRCODE = '{code}'; END $$");
            sqlx::raw_sql(sqlx::AssertSqlSafe(raise))
                .execute(ctx.connection())
                .await?;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world
        .consumer()
        .attempts_in_place(1)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn a_lost_connection_is_run_again() {
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
    let builder = world
        .consumer()
        .attempts_in_place(1)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn a_handler_that_passes_over_a_failed_statement_has_failed() {
    let world = World::new().await;
    let handler = |mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await?;
        // COMMIT would now roll back, without an error.
        let _ = sqlx::query("SELECT 1 / 0").execute(ctx.connection()).await;
        Ok::<_, HandlerError>(())
    };
    let builder = world.consumer().max_attempts(1).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is parked", || async {
        world.database.parked().await == ["failed/dead/1/t"]
    })
    .await;
    running.stop().await;
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(
        errors[0].contains("passed over a failed statement"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn a_handler_may_use_savepoints_but_not_end_the_transaction() {
    let world = World::new().await;
    let handler = |mut ctx: Context, event: Placed| async move {
        let mut savepoint = ctx.connection().begin().await?;
        let _ = sqlx::query("SELECT 1 / 0").execute(&mut *savepoint).await;
        savepoint.rollback().await?;
        insert_effect(&mut ctx, &event).await?;
        if event.n == 2 {
            sqlx::query("ROLLBACK").execute(ctx.connection()).await?;
        }
        Ok::<_, HandlerError>(())
    };
    let builder = world.consumer().max_attempts(1).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    world.broker.publish(&Placed::new("a", 2)).await;
    eventually("the second is parked", || async {
        world.database.parked().await == ["failed/dead/1/t"]
    })
    .await;
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [1]);
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(
        errors[0].contains("ended the transaction itself"),
        "{errors:?}"
    );
}
