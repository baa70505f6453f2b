//! Handlers and layers that do what one would not expect of them.

use std::time::Duration;

use futures_util::FutureExt as _;
use inbox::{Context, Delivery, HandlerError};
use sqlx::{Connection as _, Executor as _};
use tower::util::MapRequestLayer;

use support::eventually;

use crate::world::{Log, Placed, Running, World, insert_effect};

/// Publishes before anybody reads, so that messages share transactions.
async fn waiting(world: &World, count: i64) {
    let keep = |_: Context, _: Placed| async { Ok::<_, HandlerError>(()) };
    let declared = world.consumer().on::<Placed, _, _>(keep);
    let declared = Running::start(&world.broker, "billing", declared).await;
    declared.stop().await;
    for n in 0..count {
        world.broker.publish(&Placed::new("a", n)).await;
    }
}

/// The error of a statement that it has given up is its own, and not that of a lost connection.
#[tokio::test]
async fn a_handler_may_give_up_a_statement() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, _: Placed| {
        seen.add("run");
        async move {
            let connection = ctx.connection();
            connection
                .execute("SET LOCAL statement_timeout = '200ms'")
                .await?;
            let sleeping = connection.execute("SELECT pg_sleep(10)");
            tokio::time::timeout(Duration::from_millis(50), sleeping).await??;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world.consumer().max_attempts(3).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/3/t"]
    })
    .await;
    running.stop().await;
    assert_eq!(log.count("run"), 3);
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(errors[0].contains("deadline has elapsed"), "{errors:?}");
}

/// What comes after a handler's own COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Success,
    Error,
    FailedStatement,
    Panic,
    Deadline,
    /// Its context lives on, and with it the connection.
    Leak,
}

/// What it committed cannot be taken back: nobody may take the message for handled, nor run it again.
#[tokio::test]
async fn a_message_whose_handler_commits_is_dead() {
    use After::{Deadline, Error, FailedStatement, Leak, Panic, Success};
    let world = World::new().await;
    for after in [Success, Error, FailedStatement, Panic, Deadline, Leak] {
        for together in [1, 6] {
            commits(&world, after, together).await;
        }
    }
}

async fn commits(world: &World, after: After, together: usize) {
    let case = format!("{after:?}, {together} to a transaction");
    let handler = move |mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await?;
        if event.n == 3 {
            let connection = ctx.connection();
            connection.execute("COMMIT; BEGIN").await?;
            match after {
                After::Success => {}
                After::Error => return Err(HandlerError::retry("afterwards")),
                After::FailedStatement => {
                    connection.execute("SELECT 1 / 0").await?;
                }
                After::Panic => panic!("afterwards"),
                After::Deadline => {
                    connection.execute("SELECT pg_sleep(20)").await?;
                }
                After::Leak => drop(tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    drop(ctx);
                })),
            }
        }
        Ok::<_, HandlerError>(())
    };
    waiting(world, 6).await;
    let builder = world
        .consumer()
        .workers(1)
        .handler_timeout(Duration::from_secs(1))
        .messages_per_transaction(together)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("each is handled or parked", || async {
        world
            .database
            .count("SELECT count(*) FROM inbox.processed")
            .await
            == 6
    })
    .await;
    eventually("the queue is empty", || async {
        world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
    running.stop().await;
    let dead = "SELECT convert_from(payload, 'UTF8')::jsonb ->> 'n' FROM inbox.parked
                WHERE state = 'dead' ORDER BY 1";
    let dead = world.database.texts(dead).await;
    // By itself, the one; all that share its transaction, since nobody knows which of them have run.
    assert!(dead.contains(&"3".to_owned()), "{case}: {dead:?}");
    assert_eq!(dead.len() > 1, together > 1, "{case}: {dead:?}");
    let lost = "SELECT n::text FROM generate_series(0, 5) AS n
                WHERE n NOT IN (SELECT n FROM effect)
                  AND n NOT IN (SELECT (convert_from(payload, 'UTF8')::jsonb ->> 'n')::int
                                FROM inbox.parked)";
    let lost = world.database.texts(lost).await;
    assert!(lost.is_empty(), "{case}: {lost:?}");
    let twice = "SELECT n::text FROM effect GROUP BY n HAVING count(*) > 1";
    let twice = world.database.texts(twice).await;
    assert!(twice.is_empty(), "{case}: {twice:?}");
    let errors = world
        .database
        .texts("SELECT error FROM inbox.parked WHERE state = 'dead'")
        .await;
    assert!(
        errors[0].contains("ended the transaction itself"),
        "{case}: {errors:?}"
    );
    world
        .database
        .execute("TRUNCATE inbox.parked, inbox.processed, effect")
        .await;
}

/// sqlx ends the transaction if the beginning of a savepoint is given up, and says nothing: what the handler
/// writes then is committed at once.
#[tokio::test]
async fn a_savepoint_given_up_midway_is_no_silent_end_of_the_transaction() {
    let world = World::new().await;
    for (together, fails) in [(1, false), (1, true), (6, false)] {
        let handler = move |mut ctx: Context, event: Placed| async move {
            if event.n == 3 {
                // Before the server has answered; if it was faster, once more.
                while let Some(begun) = ctx.connection().begin().now_or_never() {
                    begun?.rollback().await?;
                }
            }
            insert_effect(&mut ctx, &event).await?;
            if event.n == 3 && fails {
                return Err(HandlerError::retry("afterwards"));
            }
            Ok::<_, HandlerError>(())
        };
        waiting(&world, 6).await;
        let builder = world
            .consumer()
            .workers(1)
            .messages_per_transaction(together)
            .on::<Placed, _, _>(handler);
        let running = Running::start(&world.broker, "billing", builder).await;
        eventually("one is dead, and what is behind it waits", || async {
            let parked = world.database.parked().await;
            parked
                == [
                    "failed/dead/1/t",
                    "behind/waiting/0/t",
                    "behind/waiting/0/t",
                ]
        })
        .await;
        running.stop().await;
        // What it wrote outside of the transaction stays, in company and alone; the others' is there once.
        let mut others = world.database.effects("a").await;
        others.retain(|n| *n != 3);
        assert_eq!(others, [0, 1, 2], "{together}, {fails}");
        let errors = "SELECT error FROM inbox.parked WHERE state = 'dead'";
        let errors = world.database.texts(errors).await;
        assert!(errors[0].contains("ended the transaction"), "{errors:?}");
        world
            .database
            .execute("TRUNCATE inbox.parked, inbox.processed, effect")
            .await;
    }
}

/// "Never" is a wait as any other.
#[tokio::test]
async fn a_message_may_be_put_off_for_ever() {
    let world = World::new().await;
    let handler =
        |_: Context, _: Placed| async { Err::<(), _>(HandlerError::defer(Duration::MAX, "never")) };
    let builder = world
        .consumer()
        .handler_timeout(Duration::MAX)
        .max_deferral(Duration::MAX)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is parked", || async {
        world.database.parked().await == ["deferred/waiting/0/f"]
    })
    .await;
    running.stop().await;
    let due = "SELECT count(*) FROM inbox.parked WHERE due_at > now() + interval '90 years'";
    assert_eq!(world.database.count(due).await, 1);
}

/// A lease for ever is a lease that the table can hold.
#[tokio::test]
async fn a_handler_with_all_the_time_is_tried_again_too() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            seen.add("run");
            if seen.count("run") < 5 {
                return Err(HandlerError::retry("not yet"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world
        .consumer()
        .handler_timeout(Duration::MAX)
        .max_attempts(u32::MAX)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled in the end", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

/// The time that it waited for others is not counted.
#[tokio::test]
async fn a_message_that_waited_for_its_key_may_be_put_off_as_long_as_any() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            let broken: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM broken)")
                .fetch_one(ctx.connection())
                .await?;
            if event.n == 0 && broken {
                return Err(HandlerError::retry("its service is down"));
            }
            if event.n == 1 && seen.count("1") == 0 {
                seen.add("1");
                return Err(HandlerError::not_yet("its customer has not arrived"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    world
        .database
        .execute(
            "CREATE TABLE broken (name text); INSERT INTO broken VALUES ('it');
             GRANT SELECT ON broken TO PUBLIC",
        )
        .await;
    let builder = world
        .consumer()
        .max_attempts(10_000)
        .max_deferral(Duration::from_secs(30))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..2 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("both are parked", || async {
        world.database.parked().await.len() == 2
    })
    .await;
    // As if they had waited for a day.
    world
        .database
        .execute(
            "UPDATE inbox.parked SET parked_at = parked_at - interval '1 day'; DELETE FROM broken",
        )
        .await;
    eventually("both are handled", || async {
        world.database.effects("a").await == [0, 1]
    })
    .await;
    running.stop().await;
    assert_eq!(log.count("1"), 1);
}

/// A layer may unpack bodies, of deliveries that share a transaction and of parked ones too.
#[tokio::test]
async fn a_layer_may_replace_the_body() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            seen.add(event.n.to_string());
            if event.n == 103 && seen.count("103") < 5 {
                return Err(HandlerError::retry("not yet"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    let unpack = |delivery: Delivery| {
        let mut event: Placed = serde_json::from_slice(delivery.body()).unwrap();
        event.n += 100;
        delivery.with_body(serde_json::to_vec(&event).unwrap())
    };
    waiting(&world, 10).await;
    let builder = world
        .consumer()
        .workers(1)
        .messages_per_transaction(10)
        .on::<Placed, _, _>(handler)
        .layer(MapRequestLayer::new(unpack));
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("all are handled", || async {
        world.database.effects("a").await.len() == 10
    })
    .await;
    running.stop().await;
    let in_order: Vec<i64> = (100..110).collect();
    assert_eq!(world.database.effects("a").await, in_order);
}

/// One that makes its own delivery is told so, and the message is not lost.
#[tokio::test]
async fn a_layer_that_makes_another_delivery_of_a_parked_one_is_told() {
    let world = World::new().await;
    let handler = |_: Context, _: Placed| async { Err::<(), _>(HandlerError::retry("no")) };
    let rebuild =
        |delivery: Delivery| Delivery::new(delivery.message().clone(), delivery.body().to_vec());
    let builder = world
        .consumer()
        .max_attempts(4)
        .on::<Placed, _, _>(handler)
        .layer(MapRequestLayer::new(rebuild));
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/4/t"]
    })
    .await;
    running.stop().await;
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(errors[0].contains("Delivery::with_body"), "{errors:?}");
}
