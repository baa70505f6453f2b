//! Consumers are killed at every named step, under load: from the producers' transactions through a
//! relay and the broker to the handlers' effects.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::LocalBoxFuture;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use postroom_testkit::{Consumer, Login, Pin, RelayProcess, Settled, Stack, eventually, short};
use support::{ConsumerProcess, judged_effects, load::Load};

/// Each step is met by consumers whose messages may share a transaction: so many each.
const TOGETHER: [usize; 4] = [1, 20, 2, 50];

struct World {
    stack: Stack,
    _relay: RelayProcess,
}

impl World {
    async fn new() -> Self {
        let stack = Stack::new().await;
        ConsumerProcess::prepare(&stack.database).await;
        let relay = stack.relay().await;
        Self {
            stack,
            _relay: relay,
        }
    }

    /// Runs the kills while producers are at work, and judges the effects.
    async fn judge(&self, kills: LocalBoxFuture<'_, ()>) {
        let done = AtomicBool::new(false);
        let load = Load {
            slow: false,
            writers: 6,
            ..Load::new(2)
        };
        load.prepare(&self.stack.database).await;
        let producing = async {
            let mut part = load.clone();
            while !done.load(Ordering::Relaxed) {
                part.run(&self.stack.database).await;
                part.seed = part.seed.wrapping_add(100);
            }
        };
        let killing = async {
            kills.await;
            done.store(true, Ordering::Relaxed);
        };
        tokio::join!(producing, killing);
        let last = ConsumerProcess::start(&self.stack, 1);
        judged_effects(&self.stack.database).await.assert_clean();
        let pool = self.stack.database.pool(Login::Owner).await;
        let everything = Settled::new()
            .outbox("postroom", &pool)
            .consumer(Consumer::new("ledger", &pool, ["load"]));
        let settled = everything.wait().await;
        settled.unwrap_or_else(|error| panic!("{error}"));
        last.stop().await;
        // Repetitions that wait when a consumer stops come again, by the next one.
        eventually("everything is acknowledged", async || {
            if self.left().await == 0 {
                return true;
            }
            let next = ConsumerProcess::start(&self.stack, 1);
            eventually("it has taken them", async || self.left().await == 0).await;
            next.stop().await;
            false
        })
        .await;
        judged_effects(&self.stack.database).await.assert_clean();
    }

    async fn count(&self, query: &'static str) -> i64 {
        let mut owner = self.stack.database.connect(Login::Owner).await;
        sqlx::query_scalar(query)
            .fetch_one(&mut owner)
            .await
            .expect("counting")
    }

    /// Waits until effects go on.
    async fn more(&self) {
        let query = "SELECT count(*) FROM effect";
        let before = self.count(query).await;
        eventually("more messages have their effect", async || {
            self.count(query).await > before + 10
        })
        .await;
    }

    /// Returns the number of messages in the queue, which has no reader any more.
    async fn left(&self) -> u32 {
        let (_connection, channel) = self.stack.broker.channel().await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare(short("ledger"), passive, FieldTable::default());
        queue.await.expect("asking for the queue").message_count()
    }

    /// Publishes a message that is no part of the load's ledger.
    async fn publish(&self, by: &str, key: &str) {
        let mut producer = self.stack.database.connect(Login::Producer).await;
        sqlx::query("SELECT outbox.publish('load', $1::jsonb, key => $2)")
            .bind(serde_json::json!({ "by": by }))
            .bind(key)
            .execute(&mut producer)
            .await
            .expect("publishing");
    }

    /// Publishes a message that is.
    async fn write(&self, by: &str, key: &str, place: i64) {
        let mut producer = self.stack.database.connect(Login::Producer).await;
        sqlx::query(
            "WITH written AS (
                 INSERT INTO ledger SELECT gen_random_uuid(), $2, $3 RETURNING id)
             SELECT outbox.publish('load', $1::jsonb, key => $2, message_id => id) FROM written",
        )
        .bind(serde_json::json!({ "by": by }))
        .bind(key)
        .bind(place)
        .execute(&mut producer)
        .await
        .expect("publishing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_in_the_handler() {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            for together in TOGETHER {
                let consumer = ConsumerProcess::start(&world.stack, together);
                world.more().await;
                let mut pin = Pin::table(&world.stack.database, "effect").await;
                pin.reached().await;
                consumer.kill().await;
                pin.undo().await;
            }
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_before_the_commit() {
    let world = World::new().await;
    Pin::prepare_commits(&world.stack.database, "effect").await;
    world
        .judge(Box::pin(async {
            for together in TOGETHER {
                let consumer = ConsumerProcess::start(&world.stack, together);
                world.more().await;
                let mut pin = Pin::commits(&world.stack.database).await;
                pin.reached().await;
                consumer.kill().await;
                pin.undo().await;
            }
        }))
        .await;
}

/// The handler's work commits, and the process is gone that would acknowledge the message.
#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_after_the_commit_and_before_the_acknowledgement() {
    let world = World::new().await;
    Pin::prepare_commits(&world.stack.database, "effect").await;
    world
        .judge(Box::pin(async {
            for together in TOGETHER {
                let consumer = ConsumerProcess::start(&world.stack, together);
                world.more().await;
                let mut pin = Pin::commits(&world.stack.database).await;
                pin.reached().await;
                consumer.kill().await;
                let before = world.count("SELECT count(*) FROM effect").await;
                pin.release().await;
                eventually("what waited is committed", async || {
                    world.count("SELECT count(*) FROM effect").await > before
                })
                .await;
            }
        }))
        .await;
}

/// Two messages of one order are in the process when it is killed: one at its commit, the other one waiting for it.
async fn killed_with_one_order_twice(committed: bool) {
    let world = World::new().await;
    Pin::prepare_commits(&world.stack.database, "effect").await;
    let consumer = ConsumerProcess::start(&world.stack, 1);
    let mut pin = Pin::commits(&world.stack.database).await;
    for key in ["one", "another"] {
        let mut producer = world.stack.database.connect(Login::Producer).await;
        sqlx::query("SELECT outbox.publish('load', $1::jsonb, key => $2)")
            .bind(serde_json::json!({ "by": "hand", "order": "7" }))
            .bind(key)
            .execute(&mut producer)
            .await
            .expect("publishing");
    }
    pin.reached().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'
                     AND query LIKE '%INTO inbox.idempotency_key%'";
    let admin = world.stack.database.pool(Login::Admin).await;
    eventually("the other one waits", async || {
        let waiting = sqlx::query_scalar(waiting).fetch_one(&admin).await;
        waiting.is_ok_and(|waiting: i64| waiting == 1)
    })
    .await;
    consumer.kill().await;
    if committed {
        pin.release().await;
    } else {
        pin.undo().await;
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'postroom_test_consumer'";
    eventually("its sessions are gone", async || {
        world.count(sessions).await == 0
    })
    .await;
    let effects = "SELECT count(*) FROM effect";
    assert_eq!(world.count(effects).await, i64::from(committed));
    let next = ConsumerProcess::start(&world.stack, 1);
    eventually("both are recorded", async || {
        world.count("SELECT count(*) FROM inbox.processed").await == 2
    })
    .await;
    next.stop().await;
    assert_eq!(world.count(effects).await, 1);
    let keys = "SELECT count(*) FROM inbox.idempotency_key";
    assert_eq!(world.count(keys).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_before_the_commit_while_another_message_waits_for_its_idempotency_key() {
    killed_with_one_order_twice(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_after_the_commit_while_another_message_waits_for_its_idempotency_key() {
    killed_with_one_order_twice(true).await;
}

/// Failing messages of their own keys are parked; the consumer is killed while it parks them.
async fn killed_while_it_parks(recorded: bool) {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            let mut owner = world.stack.database.connect(Login::Owner).await;
            sqlx::query("INSERT INTO broken VALUES ('something')")
                .execute(&mut owner)
                .await
                .expect("breaking something");
            for together in TOGETHER {
                let consumer = ConsumerProcess::start(&world.stack, together);
                world.more().await;
                let mut pin = Pin::table(&world.stack.database, "inbox.parked").await;
                for place in 0..3 {
                    world
                        .write("failing", &format!("failing-{together}"), place)
                        .await;
                }
                pin.reached().await;
                consumer.kill().await;
                if recorded {
                    pin.release().await;
                } else {
                    pin.undo().await;
                }
            }
            sqlx::query("TRUNCATE broken")
                .execute(&mut owner)
                .await
                .expect("mending it");
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_before_what_it_parks_is_recorded() {
    killed_while_it_parks(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_killed_while_what_it_parks_is_recorded() {
    killed_while_it_parks(true).await;
}

/// A supervisor starts the consumer again each time; the message comes to be run by itself.
#[tokio::test(flavor = "multi_thread")]
async fn g5_a_handler_that_ends_its_process_each_time_stops_its_key_alone() {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            let together = 20;
            let mut consumer = ConsumerProcess::start(&world.stack, together);
            world.more().await;
            world.publish("aborting", "aborting").await;
            for _ in 0..3 {
                consumer.ended().await;
                consumer = ConsumerProcess::start(&world.stack, together);
            }
            let parked =
                "SELECT count(*) FROM inbox.parked WHERE reason = 'crashed' AND key = 'aborting'";
            let supervised = async {
                loop {
                    consumer.ended().await;
                    consumer = ConsumerProcess::start(&world.stack, together);
                }
            };
            let stopped = eventually("it is set apart", async || world.count(parked).await == 1);
            tokio::select! {
                () = supervised => {}
                () = stopped => {}
            }
            consumer.kill().await;
            // For an operator to look at; here it may go.
            let mut owner = world.stack.database.connect(Login::Owner).await;
            sqlx::query("DELETE FROM inbox.parked WHERE key = 'aborting'")
                .execute(&mut owner)
                .await
                .expect("discarding it");
        }))
        .await;
}
