//! The ring's upkeep meets locks and refusals: no session ends by them.

use postroom_testkit::{Login, RelayProcess, Stack, Tap, eventually};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgPool};

/// Upkeep has something to do all the time.
const OFTEN: [(&str, &str); 3] = [
    ("POSTROOM_RETENTION_SEGMENT_ROWS", "50"),
    ("POSTROOM_RETENTION_KEEP", "0s"),
    ("POSTROOM_RETENTION_CHECK_INTERVAL", "50ms"),
];

/// A relay with its outbox, and what was published there.
struct World {
    stack: Stack,
    tap: Tap,
    owner: PgPool,
    relay: RelayProcess,
    published: usize,
}

impl World {
    async fn new() -> Self {
        let stack = Stack::new().await;
        Self {
            tap: Tap::open(&stack.broker, "tap", "#").await,
            owner: stack.database.pool(Login::Owner).await,
            relay: stack.relay_with(&OFTEN).await,
            stack,
            published: 0,
        }
    }

    async fn publish(&mut self, count: i32) {
        sqlx::query("SELECT outbox.publish('t', '1') FROM generate_series(1, $1)")
            .bind(count)
            .execute(&self.owner)
            .await
            .expect("publishing");
        self.published += count as usize;
        self.tap.distinct(self.published).await;
        self.stack.delivered().await;
    }

    /// Waits until upkeep waits for another session's lock on a table. Messages are published meanwhile: the snapshot of
    /// the last frame decides which leaves may be emptied.
    async fn meets_a_lock_on(&mut self, table: &str) {
        eventually("upkeep meets the lock", async || {
            self.publish(1).await;
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = $1::regclass)",
            )
            .bind(table)
            .fetch_one(&self.owner)
            .await
            .expect("looking at locks")
        })
        .await;
    }

    /// Publishes until a segment has been emptied that was not before; then nothing was sent twice.
    async fn ends_well(mut self) {
        let before = self.expired();
        while self.expired() <= before {
            self.publish(10).await;
        }
        let lost = self.relay.metric("postroom_relay_sessions_lost_total");
        assert!(lost < 1.0, "a session was lost");
        assert_eq!(self.tap.seen().len(), self.published);
    }

    fn expired(&self) -> f64 {
        self.relay.metric("postroom_relay_expired_segments_total")
    }

    fn rotated(&self) -> f64 {
        self.relay.metric("postroom_relay_rotations_total")
    }
}

#[tokio::test]
async fn a_lock_on_segments_while_one_is_to_be_emptied_ends_no_session() {
    let mut world = World::new().await;
    let mut reader = world.stack.database.connect(Login::Owner).await;
    let mut reading = reader.begin().await.unwrap();
    reading
        .execute("SELECT count(*) FROM outbox.message_00")
        .await
        .unwrap();
    world.publish(60).await;
    eventually("a segment was left", async || world.rotated() >= 1.0).await;
    world.meets_a_lock_on("outbox.message_00").await;
    let mut holder = world.stack.database.connect(Login::Owner).await;
    let mut held = holder.begin().await.unwrap();
    held.execute("LOCK TABLE outbox.segment IN SHARE MODE")
        .await
        .unwrap();
    reading.commit().await.unwrap();
    for _ in 0..3 {
        world.meets_a_lock_on("outbox.segment").await;
    }
    held.commit().await.unwrap();
    world.ends_well().await;
}

#[tokio::test]
async fn a_lock_on_segments_while_one_is_to_be_begun_holds_up_no_message() {
    for mode in ["SHARE", "ACCESS EXCLUSIVE"] {
        let mut world = World::new().await;
        let mut holder = world.stack.database.connect(Login::Owner).await;
        let mut held = holder.begin().await.unwrap();
        held.execute(AssertSqlSafe(format!(
            "LOCK TABLE outbox.segment IN {mode} MODE"
        )))
        .await
        .unwrap();
        world.publish(60).await;
        for _ in 0..3 {
            world.meets_a_lock_on("outbox.segment").await;
        }
        held.commit().await.unwrap();
        world.ends_well().await;
    }
}

#[tokio::test]
async fn a_right_that_upkeep_lacks_is_told_and_ends_no_session() {
    let mut world = World::new().await;

    world
        .stack
        .database
        .ddl("REVOKE TRUNCATE ON outbox.message_00 FROM outbox_relay")
        .await;
    world.publish(60).await;
    eventually("a segment was left", async || world.rotated() >= 1.0).await;
    eventually("the refusal is counted", async || {
        world.publish(1).await;
        world.relay.metric("postroom_relay_upkeep_refused_total") >= 1.0
    })
    .await;
    let logged = world.relay.logged();
    for part in [
        "upkeep of the ring",
        "message_00",
        "GRANT outbox_relay",
        "Messages are delivered all the same",
    ] {
        assert!(logged.contains(part), "{part}: {logged}");
    }
    world.publish(60).await;
    eventually("other leaves are used", async || world.rotated() >= 2.0).await;
    world
        .stack
        .database
        .ddl("GRANT TRUNCATE ON outbox.message_00 TO outbox_relay")
        .await;
    world.ends_well().await;
}
