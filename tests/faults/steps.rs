//! The relay is killed at every named step of a message's way, under load. The test holds back the answer that the
//! relay waits for, so that the relay is at exactly this step.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::LocalBoxFuture;
use history::Report;
use lapin::types::FieldTable;
use postroom_testkit::{Login, Pin, Proxy, RelayProcess, Stack, Tap, Wire, eventually, short};
use support::{judged, load::Load};

/// Number of kills at each step.
const KILLS: usize = 3;

/// A stack whose broker is reached through a wire.
struct World {
    stack: Stack,
    tap: Tap,
    wire: Proxy,
}

impl World {
    async fn new() -> Self {
        let stack = Stack::new().await;
        let wire = Proxy::new(&stack.broker.url(), Wire::Forward).await;
        let tap = Tap::open(&stack.broker, "tap", "#").await;
        Self { stack, tap, wire }
    }

    async fn relay(&self) -> RelayProcess {
        let url = self.wire.url(&self.stack.broker.url());
        self.stack.relay_with(&[("POSTROOM_AMQP_URL", &url)]).await
    }

    /// Waits until something more comes through.
    async fn more(&self) {
        let before = self.tap.ids().len();
        // Each key may have only one message in flight, and there are more than 8 keys.
        self.tap.distinct(before + 8).await;
    }

    /// Holds the relay back at a record of messages that were confirmed since the last one.
    async fn confirmed_and_not_recorded(&self, relay: &RelayProcess) -> Pin {
        let confirmed = || relay.metric("postroom_relay_delivered_total");
        loop {
            self.more().await;
            let mut pin = Pin::table(&self.stack.database, "outbox.checkpoint").await;
            let before = confirmed();
            pin.reached().await;
            if confirmed() > before {
                return pin;
            }
            // A record for rows that must be durable first: until it is made, nothing more may be sent.
            pin.release().await;
        }
    }

    /// Runs the kills while producers are at work, and judges what came through.
    async fn judge(&self, kills: LocalBoxFuture<'_, ()>) -> Report {
        let done = AtomicBool::new(false);
        let load = Load {
            slow: false,
            writers: 12,
            ..Load::new(4)
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
        let _last = self.relay().await;
        let report = judged(&self.stack.database, &self.tap).await;
        report.assert_clean();
        self.stack.delivered().await;
        report
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_killed_after_it_read_and_before_it_published() {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            for _ in 0..KILLS {
                let relay = world.relay().await;
                world.more().await;
                world.wire.set(Wire::Refuse).await;
                eventually("rows wait in the relay", async || {
                    relay.metric("postroom_relay_window_rows") > 0.0
                })
                .await;
                relay.kill().await;
                world.wire.set(Wire::Forward).await;
            }
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_killed_after_it_published_and_before_the_confirm() {
    let world = World::new().await;
    let report = world
        .judge(Box::pin(async {
            for _ in 0..KILLS {
                let relay = world.relay().await;
                world.more().await;
                let before = world.tap.ids().len();
                world.wire.set(Wire::Deaf).await;
                // The last of these came from a relay that hears nothing back, if not all did.
                world.tap.distinct(before + 1).await;
                relay.kill().await;
                world.wire.set(Wire::Forward).await;
            }
        }))
        .await;
    assert!(report.repeats > 0, "what was not confirmed is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_killed_after_the_confirm_and_before_the_checkpoint() {
    let world = World::new().await;
    let report = world
        .judge(Box::pin(async {
            for _ in 0..KILLS {
                let relay = world.relay().await;
                let pin = world.confirmed_and_not_recorded(&relay).await;
                relay.kill().await;
                pin.undo().await;
            }
        }))
        .await;
    assert!(report.repeats > 0, "what was not recorded is sent again");
}

/// The checkpoint is committed although the relay that wrote it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn g3_killed_while_its_checkpoint_commits() {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            for _ in 0..KILLS {
                let relay = world.relay().await;
                world.more().await;
                let mut pin = Pin::table(&world.stack.database, "outbox.checkpoint").await;
                pin.reached().await;
                relay.kill().await;
                pin.release().await;
            }
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_killed_just_after_a_checkpoint() {
    let world = World::new().await;
    let owner = world.stack.database.pool(Login::Owner).await;
    let newest = async || -> i64 {
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM outbox.checkpoint")
            .fetch_one(&owner)
            .await
            .expect("asking for the newest checkpoint")
    };
    world
        .judge(Box::pin(async {
            for _ in 0..KILLS {
                let relay = world.relay().await;
                world.more().await;
                let before = newest().await;
                eventually("a checkpoint is recorded", async || newest().await > before).await;
                relay.kill().await;
            }
        }))
        .await;
}

/// Nothing is bound for a while: what the relay read must be parked, and it is killed as it parks.
async fn killed_while_it_parks(recorded: bool) {
    let world = World::new().await;
    let (_connection, channel) = world.stack.broker.channel().await;
    let bind = async |bound: bool| {
        let (queue, exchange, pattern) = (short("tap"), short("postroom"), short("#"));
        let arguments = FieldTable::default();
        if bound {
            let options = lapin::options::QueueBindOptions::default();
            let bind = channel.queue_bind(queue, exchange, pattern, options, arguments);
            bind.await.expect("binding the tap");
        } else {
            let unbind = channel.queue_unbind(queue, exchange, pattern, arguments);
            unbind.await.expect("unbinding the tap");
        }
    };
    world
        .judge(Box::pin(async {
            for _ in 0..KILLS {
                let relay = world.relay().await;
                world.more().await;
                let mut pin = Pin::table(&world.stack.database, "outbox.parked").await;
                bind(false).await;
                pin.reached().await;
                relay.kill().await;
                if recorded {
                    pin.release().await;
                } else {
                    pin.undo().await;
                }
                bind(true).await;
            }
        }))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_killed_before_what_it_parks_is_recorded() {
    killed_while_it_parks(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_killed_while_what_it_parks_is_recorded() {
    killed_while_it_parks(true).await;
}
