//! Transactions that follow one another on a connection, while messages wait.

use std::collections::HashSet;

use inbox::{Context, HandlerError};
use metrics_exporter_prometheus::PrometheusBuilder;
use sqlx::Executor as _;

use postroom_testkit::eventually;

use crate::world::{Placed, Running, World, insert_effect, metric};

/// Publishes while no consumer runs, so that messages wait all the time.
async fn publish(world: &World, count: i64) {
    let builder = world.consumer().on::<Placed, _, _>(misbehave);
    let declared = Running::start(&world.broker, "billing", builder).await;
    declared.stop().await;
    for n in 0..count {
        // A key each: none waits for another.
        world
            .broker
            .publish(&Placed::new(&format!("c{n}"), n))
            .await;
    }
}

/// Half of the events are handled; the others are handled in a way that must not commit.
async fn misbehave(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    let statement = match event.n % 10 {
        9 if event.n % 20 == 19 => "INSERT INTO divided VALUES (0)",
        1 => "SELECT 1 / 0",
        3 => "ROLLBACK",
        5 => "ROLLBACK; BEGIN",
        7 => return Err(HandlerError::retry("not today")),
        9 => "INSERT INTO child VALUES (1)",
        _ => return Ok(()),
    };
    // The handler ignores the statement's failure.
    let _ = ctx.connection().execute(statement).await;
    Ok(())
}

#[tokio::test]
async fn g5_transactions_that_must_not_commit_do_not_while_messages_wait() {
    let world = World::new().await;
    world
        .database
        .execute(
            "CREATE TABLE parent (n bigint PRIMARY KEY);
             CREATE TABLE child (n bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE divided (n bigint);
             CREATE FUNCTION divide() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM 1 / NEW.n; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER divide AFTER INSERT ON divided
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION divide();
             GRANT ALL ON child, divided TO PUBLIC",
        )
        .await;
    publish(&world, 200).await;
    let builder = world
        .consumer()
        .workers(2)
        .max_attempts(1)
        .on::<Placed, _, _>(misbehave);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("each is handled or parked", || async {
        let both = "SELECT (SELECT count(*) FROM effect) + (SELECT count(*) FROM inbox.parked)";
        world.database.count(both).await == 200
    })
    .await;
    running.stop().await;
    let effects = "SELECT n::text FROM effect ORDER BY effect.n";
    let even: Vec<String> = (0..200).step_by(2).map(|n: i64| n.to_string()).collect();
    assert_eq!(world.database.texts(effects).await, even);
    let recorded = "SELECT count(*) FROM inbox.processed";
    assert_eq!(world.database.count(recorded).await, 200);
    let errors = "SELECT error FROM inbox.parked ORDER BY substr(key, 2)::int LIMIT 10";
    let errors = world.database.texts(errors).await;
    let said = [
        "passed over a failed statement",
        "ended the transaction itself",
        "ended the transaction itself",
        "not today",
        "foreign key",
    ];
    let mut said = [said, said].concat();
    said[9] = "division by zero";
    assert_eq!(errors.len(), said.len());
    for (error, said) in errors.iter().zip(said) {
        assert!(error.contains(said), "{said}: {errors:?}");
    }
}

#[tokio::test]
async fn transactions_go_on_with_the_connection_and_their_time_is_their_own() {
    let world = World::new().await;
    publish(&world, 60).await;
    let handler = |mut ctx: Context, event: Placed| async move {
        sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, now()::text)")
            .bind(event.n)
            .execute(ctx.connection())
            .await?;
        Ok::<_, HandlerError>(())
    };
    let builder = world.consumer().workers(1).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("all are handled", || async {
        world.database.count("SELECT count(*) FROM effect").await == 60
    })
    .await;
    running.stop().await;
    let moments = "SELECT customer FROM effect";
    let moments: HashSet<String> = world.database.texts(moments).await.into_iter().collect();
    assert_eq!(moments.len(), 60, "each has a transaction of its own");
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in%'";
    eventually("none stays open", || async {
        world.database.count(open).await == 0
    })
    .await;
}

/// A failure makes all of its group run again, each alone; the worker has one connection for all of them.
#[tokio::test]
async fn the_messages_of_a_failed_group_do_not_wait_for_connections() {
    let world = World::new().await;
    publish(&world, 300).await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let handler = |mut ctx: Context, event: Placed| async move {
        if event.n % 40 == 7 {
            return Err(HandlerError::reject("one of each group"));
        }
        Ok(insert_effect(&mut ctx, &event).await?)
    };
    let builder = world
        .consumer()
        .database(world.database.pool(3))
        .workers(1)
        .messages_per_transaction(50)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("each is handled or dead", || async {
        let both = "SELECT (SELECT count(*) FROM effect) + (SELECT count(*) FROM inbox.parked)";
        world.database.count(both).await == 300
    })
    .await;
    running.stop().await;
    let parked = "SELECT count(*) FROM inbox.parked WHERE reason = 'rejected'";
    assert_eq!(world.database.count(parked).await, 8);
    let counted = recorder.handle().render();
    let failed = metric(&counted, "postroom_inbox_shared_failed_total");
    assert!(failed > Some(0.0), "{counted}");
    let unavailable = metric(&counted, "postroom_inbox_database_unavailable_total");
    assert_eq!(unavailable, Some(0.0), "{counted}");
}
