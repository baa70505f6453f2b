//! A `COPY` that a handler leaves before its end: sqlx (0.9) leaves an answer behind, and each later request on
//! that connection gets the one before its own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt as _;
use inbox::{Context, HandlerError};
use tokio::time::timeout;

use crate::{
    together::{effects, waiting},
    world::{Placed, Running, World, insert_effect},
};
use postroom_testkit::eventually;

const IN: &str = "COPY copied FROM STDIN";
const OUT: &str = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 3000)) TO STDOUT";

/// State in which a handler leaves a COPY.
#[derive(Debug, Clone, Copy)]
enum Left {
    /// The COPY's source fails, and so does the handler.
    Failed,
    /// The COPY's rows are not read to the end, and the handler succeeds.
    Unread,
    /// The inbox's own deadline ends the handler.
    Late,
}

async fn leave(ctx: &mut Context, how: Left) -> Result<(), HandlerError> {
    match how {
        Left::Failed => {
            let mut copy = ctx.connection().copy_in_raw(IN).await?;
            copy.send(&b"1\n"[..]).await?;
            Err("the source failed".into())
        }
        Left::Unread => {
            let mut rows = ctx.connection().copy_out_raw(OUT).await?;
            drop(rows.next().await);
            Ok(())
        }
        Left::Late => {
            let mut copy = ctx.connection().copy_in_raw(IN).await?;
            copy.send(&b"1\n"[..]).await?;
            std::future::pending().await
        }
    }
}

/// Forty messages, of which every other one is left so at its first attempt.
async fn forty(how: Left, together: usize) {
    let world = World::new().await;
    let copied = "CREATE TABLE copied (n bigint); GRANT ALL ON copied TO PUBLIC";
    world.database.execute(copied).await;
    waiting(&world, 40, 1).await;
    let tried = Arc::new(Mutex::new(HashSet::new()));
    let handler = move |mut ctx: Context, event: Placed| {
        let is_first = tried.lock().unwrap().insert(event.n);
        async move {
            insert_effect(&mut ctx, &event).await?;
            if is_first && event.n % 2 == 0 {
                leave(&mut ctx, how).await?;
            }
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world
        .consumer()
        .workers(2)
        .messages_per_transaction(together);
    let builder = builder
        .handler_timeout(Duration::from_millis(200))
        .database(world.database.pool(4))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    effects(&world, 40).await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn copies_that_fail_midway_stop_nobody() {
    forty(Left::Failed, 1).await;
    forty(Left::Failed, 10).await;
}

#[tokio::test]
async fn copies_that_are_not_read_to_their_end_stop_nobody() {
    forty(Left::Unread, 1).await;
    forty(Left::Unread, 10).await;
}

#[tokio::test]
async fn copies_that_take_too_long_stop_nobody() {
    forty(Left::Late, 1).await;
}

/// The answer to the COPY would be taken for that to the COMMIT, and the message acknowledged.
#[tokio::test]
async fn g5_a_commit_is_not_believed_that_another_request_was_answered_with() {
    let world = World::new().await;
    let refuses = "
        CREATE TABLE copied (n bigint);
        GRANT ALL ON copied TO PUBLIC;
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
        CREATE TRIGGER slow AFTER INSERT ON copied FOR EACH STATEMENT EXECUTE FUNCTION slow();
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'refused at COMMIT'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse()";
    world.database.execute(refuses).await;
    let handler = |mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await?;
        let copy = async {
            let mut copy = ctx.connection().copy_in_raw(IN).await?;
            copy.send(&b"1\n"[..]).await?;
            copy.finish().await
        };
        // The handler gives the COPY up after this time.
        let _ = timeout(Duration::from_millis(100), copy).await;
        Ok::<_, HandlerError>(())
    };
    let builder = world.consumer().attempts_in_place(1).max_attempts(1);
    let builder = builder.on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/1/t"]
    })
    .await;
    running.stop().await;
}
