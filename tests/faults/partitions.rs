//! Processes share partitions, and the number of partitions changes, while messages flow and processes are killed at every
//! step.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::LocalBoxFuture;
use postroom_testkit::{Consumer, Login, Pin, RelayProcess, Settled, Stack, eventually};
use support::{ConsumerProcess, judged_effects, load::Load};

/// Sessions that hold the locks of members.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'postroom-inbox partitions'";

const EFFECTS: &str = "SELECT count(*) FROM effect";

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

    fn start(&self, partitions: Option<u8>) -> ConsumerProcess {
        ConsumerProcess::start_with(&self.stack, 1, partitions)
    }

    fn start_two(&self, partitions: Option<u8>) -> [ConsumerProcess; 2] {
        [self.start(partitions), self.start(partitions)]
    }

    /// Runs the changes while producers are at work, and judges the effects: each once, and each key in order.
    async fn judge(&self, changes: LocalBoxFuture<'_, Option<u8>>) {
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
        let changing = async {
            let last = changes.await;
            done.store(true, Ordering::Relaxed);
            last
        };
        let ((), last) = tokio::join!(producing, changing);
        let last = self.start(last);
        // Limited by the lack of progress: the messages of a killed process come late.
        let pool = self.stack.database.pool(Login::Owner).await;
        let everything = Settled::new()
            .outbox("postroom", &pool)
            .consumer(Consumer::new("ledger", &pool, ["load"]));
        let settled = everything.wait().await;
        settled.unwrap_or_else(|error| panic!("{error}"));
        judged_effects(&self.stack.database).await.assert_clean();
        last.stop().await;
    }

    async fn count(&self, query: &'static str) -> i64 {
        let mut owner = self.stack.database.connect(Login::Admin).await;
        sqlx::query_scalar(query)
            .fetch_one(&mut owner)
            .await
            .expect("counting")
    }

    /// Waits until effects go on.
    async fn more(&self) {
        let before = self.count(EFFECTS).await;
        eventually("more messages have their effect", async || {
            self.count(EFFECTS).await > before + 10
        })
        .await;
    }

    /// Returns the whole row of the layout.
    async fn row(&self) -> Option<String> {
        let mut owner = self.stack.database.connect(Login::Owner).await;
        let row = sqlx::query_scalar("SELECT p::text FROM inbox.partitions AS p");
        let row = row.fetch_optional(&mut owner).await;
        row.expect("reading the layout")
    }

    /// Returns the layout as `partitions/step`.
    async fn layout(&self) -> String {
        let mut owner = self.stack.database.connect(Login::Owner).await;
        let row: Option<String> = sqlx::query_scalar(
            "SELECT partitions || '/' || step FROM inbox.partitions WHERE consumer = 'ledger'",
        )
        .fetch_optional(&mut owner)
        .await
        .expect("reading the layout");
        row.unwrap_or_default()
    }

    async fn reaches(&self, layout: &str) {
        let what = format!("the layout is {layout}");
        eventually(&what, async || self.layout().await == layout).await;
    }

    /// Waits until no process holds locks.
    async fn alone(&self) {
        eventually("no process is left", async || {
            self.count(SESSIONS).await == 0
        })
        .await;
    }

    /// Names of the queues at the broker.
    fn queues(&self) -> Vec<String> {
        let path = format!("queues/{}", self.stack.broker.name);
        let all = self.stack.broker.request("GET", &path, None);
        let all = all.as_array().expect("a list").iter();
        let names = all.filter_map(|queue| queue["name"].as_str().map(str::to_owned));
        names.filter(|name| name.starts_with("ledger")).collect()
    }
}

async fn kill_all(processes: impl IntoIterator<Item = ConsumerProcess>) {
    for process in processes {
        process.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_are_replaced_and_keys_keep_their_order() {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            let mut processes: Vec<_> = (0..3).map(|_| world.start(Some(4))).collect();
            world.reaches("4/ready").await;
            for _ in 0..4 {
                world.more().await;
                processes.remove(0).kill().await;
                world.more().await;
                processes.push(world.start(Some(4)));
            }
            kill_all(processes).await;
            Some(4)
        }))
        .await;
}

/// Changes the layout from one number to another, and kills both processes before each record of a step, and after it.
async fn changed(from: Option<u8>, to: Option<u8>) {
    let world = World::new().await;
    let number = to.unwrap_or(0);
    world
        .judge(Box::pin(async {
            let old = world.start_two(from);
            if let Some(from) = from {
                world.reaches(&format!("{from}/ready")).await;
            }
            world.more().await;
            kill_all(old).await;
            let ready = format!("{number}/ready");
            loop {
                let before = world.row().await;
                // Before a record, which waits for the lock.
                let mut pin = Pin::table(&world.stack.database, "inbox.partitions").await;
                let new = world.start_two(to);
                pin.reached().await;
                kill_all(new).await;
                pin.undo().await;
                world.alone().await;
                assert_eq!(world.row().await, before);
                // Just after a record.
                let new = world.start_two(to);
                eventually("a step is recorded", async || world.row().await != before).await;
                kill_all(new).await;
                world.alone().await;
                if world.layout().await == ready {
                    break;
                }
            }
            let last = world.start_two(to);
            world.more().await;
            kill_all(last).await;
            to
        }))
        .await;
    let mut expected: Vec<String> = (0..number)
        .map(|i| format!("ledger.{number}.{i}"))
        .collect();
    if number == 0 {
        expected.push("ledger".to_owned());
    }
    eventually("the old queues are gone", async || {
        world.queues() == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_more_partitions_while_messages_flow_and_processes_are_killed_at_every_step() {
    changed(Some(2), Some(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_fewer_partitions_while_messages_flow_and_processes_are_killed_at_every_step() {
    changed(Some(4), Some(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_the_plain_queue_becomes_partitions_while_processes_are_killed_at_every_step() {
    changed(None, Some(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_partitions_become_the_plain_queue_while_processes_are_killed_at_every_step() {
    changed(Some(4), None).await;
}

/// As a rolling deployment: one process after another.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deployment_changes_the_layout_once_at_its_end() {
    let world = World::new().await;
    world
        .judge(Box::pin(async {
            let [mut first, mut second] = world.start_two(None);
            world.more().await;
            for (partitions, before) in [(Some(4), ""), (Some(1), "4/ready"), (Some(4), "1/ready")]
            {
                first.stop().await;
                first = world.start(partitions);
                eventually("the new process is a member", async || {
                    world.count(SESSIONS).await == if before.is_empty() { 1 } else { 2 }
                })
                .await;
                world.more().await;
                // While the process with the old number is left.
                let layout = world.layout().await;
                assert!(layout == before || layout == "0/ready", "{layout}");
                second.stop().await;
                second = world.start(partitions);
                let number = partitions.unwrap_or(0);
                world.reaches(&format!("{number}/ready")).await;
                world.more().await;
            }
            let generations = "SELECT generation FROM inbox.partitions";
            assert_eq!(world.count(generations).await, 4);
            first.stop().await;
            second.stop().await;
            Some(4)
        }))
        .await;
}
