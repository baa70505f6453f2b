//! Handlers that end the transaction which they are lent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use inbox::{Context, HandlerError};
use postroom_testkit::eventually;
use sqlx::{Connection as _, Executor as _};
use uuid::Uuid;

use crate::world::{Placed, Running, World, insert_effect};

/// Publishes while no consumer runs, so that messages share transactions.
pub(crate) async fn waiting(world: &World, count: i64) {
    let keep = |_: Context, _: Placed| async { Ok::<_, HandlerError>(()) };
    let declared = world.consumer().on::<Placed, _, _>(keep);
    let declared = Running::start(&world.broker, "billing", declared).await;
    declared.stop().await;
    for n in 0..count {
        world.broker.publish(&Placed::new("a", n)).await;
    }
}

/// The handler's actions after its own COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Success,
    Error,
    FailedStatement,
    Panic,
    Deadline,
    /// The handler's context lives on, and with it the connection.
    Leak,
}

/// The commit cannot be taken back: the message must neither count as handled nor run again.
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
    // Alone, only this message is dead; in a shared transaction all are, since it is unknown which of them have run.
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
        // The handler's writes outside of the transaction stay, shared and alone; the effects of the others exist once.
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

/// Query that returns `true` if the handler's message shares its transaction with other new ones.
const SHARES: &str =
    "SELECT count(*) > 1 FROM inbox.processed WHERE xmin = pg_current_xact_id()::xid";

/// An earlier record says nothing about the transaction: a duplicate beside a handler's ROLLBACK must not
/// make the rollback look like a COMMIT.
#[tokio::test]
async fn a_handler_that_rolls_back_beside_a_duplicate_runs_again() {
    let world = World::new().await;
    let rolled_back = Arc::new(AtomicBool::new(false));
    let handler = {
        let rolled_back = Arc::clone(&rolled_back);
        move |mut ctx: Context, event: Placed| {
            let rolled_back = Arc::clone(&rolled_back);
            async move {
                insert_effect(&mut ctx, &event).await?;
                let shares = sqlx::query_scalar(SHARES).fetch_one(ctx.connection());
                if event.n % 4 == 3 && shares.await? && !rolled_back.swap(true, Relaxed) {
                    ctx.connection().execute("ROLLBACK").await?;
                }
                Ok::<_, HandlerError>(())
            }
        }
    };
    let builder = || {
        let builder = world.consumer().workers(1).messages_per_transaction(6);
        builder.on::<Placed, _, _>(handler.clone())
    };
    let mut expected = Vec::new();
    // Until the last one has shared a transaction: on a busy machine it may come by itself.
    while !rolled_back.load(Relaxed) {
        let next = expected.len() as i64;
        let running = Running::start(&world.broker, "billing", builder()).await;
        let duplicate = Uuid::now_v7();
        let first = Placed::new("a", next);
        world.broker.publish_as(duplicate, &first).await;
        expected.push(next);
        eventually("the first is handled", || async {
            world.database.effects("a").await == expected
        })
        .await;
        running.stop().await;
        world.broker.publish_as(duplicate, &first).await;
        for n in next + 1..next + 4 {
            world.broker.publish(&Placed::new("a", n)).await;
            expected.push(n);
        }
        let running = Running::start(&world.broker, "billing", builder()).await;
        eventually("each has had its effect", || async {
            world.database.effects("a").await == expected
        })
        .await;
        running.stop().await;
    }
    assert!(world.database.parked().await.is_empty());
}
