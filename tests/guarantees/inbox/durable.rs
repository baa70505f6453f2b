//! A database whose commits are not durable by themselves.

use inbox::{Context, HandlerError};
use lapin::options::QueuePurgeOptions;
use postroom_testkit::{PgServer, Stack, eventually};
use sqlx::{Executor as _, postgres::PgPoolOptions};

use crate::world::{Broker, Database, Placed, Running, World, insert_effect};

/// The rejected one, the 19 behind it, and those without an id.
const PARKED: usize = 40;

async fn placed(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    if event.n < 0 {
        return Err(HandlerError::reject("never"));
    }
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// An acknowledged delivery never comes again, so its commit must be on disk, even if producers do without.
#[tokio::test]
async fn g5_with_synchronous_commit_off_a_crash_takes_nothing_that_was_acknowledged() {
    a_crash_takes_nothing("synchronous_commit = off", "SELECT 1").await;
}

/// The same where the pool says so to each of its sessions.
#[tokio::test]
async fn g5_with_synchronous_commit_off_in_the_pool_a_crash_takes_nothing_that_was_acknowledged() {
    a_crash_takes_nothing("synchronous_commit = on", "SET synchronous_commit = off").await;
}

async fn a_crash_takes_nothing(setting: &str, at_connect: &'static str) {
    let writes_late = "wal_writer_delay = '10s'\nwal_writer_flush_after = '1GB'";
    let mut server = PgServer::start_with(&format!("{setting}\n{writes_late}"));
    let Stack { database, broker } = Stack::on(&server, None).await;
    let world = World {
        database: Database::new(database).await,
        broker: Broker::new(broker).await,
    };
    for together in [1, 20] {
        let pool = PgPoolOptions::new()
            .max_connections(12)
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(at_connect).await.map(drop) })
            })
            .connect_lazy(world.database.url().as_str())
            .unwrap();
        let builder = world.consumer().database(pool);
        let builder = builder.messages_per_transaction(together);
        let builder = builder.on::<Placed, _, _>(placed);
        let running = Running::start(&world.broker, "billing", builder).await;
        for n in 1..=20 {
            world.broker.publish(&Placed::new("a", n)).await;
            // A message that is parked, and a message without an id, which is parked without a record.
            world.broker.publish(&Placed::new("b", -n)).await;
            let nameless = lapin::BasicProperties::default();
            world.broker.publish_raw(nameless, b"{}").await;
        }
        eventually("everything is settled", || async {
            world.broker.queue("billing").await == Some((0, 1))
                && world.database.effects("a").await.len() == 20
                && world.database.parked().await.len() == PARKED
        })
        .await;
        running.stop().await;
        // The broker may have dropped the last acknowledgements with the channel.
        let channel = world.broker.channel().await;
        let options = QueuePurgeOptions::default();
        channel
            .queue_purge("billing".into(), options)
            .await
            .unwrap();
        server.kill();
        server.resume();
        let effects = "SELECT count(*) FROM effect";
        eventually("the server is back", || async {
            let asked = sqlx::query_scalar::<_, i64>(effects);
            asked.fetch_one(&world.database.admin).await.is_ok()
        })
        .await;
        assert_eq!(world.database.count(effects).await, 20);
        assert_eq!(world.database.parked().await.len(), PARKED);
        let clean = "TRUNCATE effect, inbox.parked, inbox.processed";
        world.database.execute(clean).await;
    }
}
