//! Why leaves are made once and emptied in turn: what partitions by date would cost producers.
#![allow(clippy::expect_used)] // Helpers of tests.

use outbox::{Message, Outbox};
use postroom_testkit::{Database, Login, Stack, eventually};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use tokio::task::JoinHandle;

const DATED: &str = "
CREATE TABLE dated (day date NOT NULL, id integer) PARTITION BY RANGE (day);
CREATE TABLE dated_01 PARTITION OF dated FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
CREATE TABLE dated_02 PARTITION OF dated FOR VALUES FROM ('2026-01-02') TO ('2026-01-03');
CREATE TABLE dated_03 PARTITION OF dated FOR VALUES FROM ('2026-01-03') TO ('2026-01-04');";

/// An application's publishing today.
const WRITE: &str = "INSERT INTO dated VALUES ('2026-01-03', 1)";

/// Statements of a daily retention by date, which never touches today's partition.
const UPKEEP: [&str; 3] = [
    "DROP TABLE dated_01",
    "ALTER TABLE dated DETACH PARTITION dated_02",
    "CREATE TABLE dated_04 PARTITION OF dated FOR VALUES FROM ('2026-01-04') TO ('2026-01-05')",
];

/// Runs a statement on a connection of its own; returns once it waits for a lock.
async fn waits(database: &Database, pool: &PgPool, sql: &'static str) -> JoinHandle<()> {
    let mut connection = database.connect(Login::Owner).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .expect("asking for the process");
    let running = tokio::spawn(async move {
        connection.execute(sql).await.expect("running upkeep");
    });
    eventually("the statement waits for a lock", async || {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)")
            .bind(pid)
            .fetch_one(pool)
            .await
            .expect("looking at locks")
    })
    .await;
    running
}

#[tokio::test]
async fn trap_upkeep_of_partitions_by_date_makes_producers_queue_behind_one_open_writer() {
    let database = Database::new().await;
    database.ddl(DATED).await;
    let owner = database.pool(Login::Owner).await;
    for upkeep in UPKEEP {
        let mut open = database.connect(Login::Owner).await;
        let mut tx = open.begin().await.unwrap();
        tx.execute(WRITE).await.unwrap();
        let upkeep = waits(&database, &owner, upkeep).await;
        let producer = waits(&database, &owner, WRITE).await;
        tx.commit().await.unwrap();
        upkeep.await.unwrap();
        producer.await.unwrap();
    }
}

async fn publish(connection: &mut PgConnection, count: usize) {
    for _ in 0..count {
        let mut tx = connection.begin().await.expect("beginning");
        let message = Message::bytes("ring", "text/plain", "").expect("a message");
        let published = Outbox::new().publish(&mut tx, message).await;
        published.expect("publishing");
        tx.commit().await.expect("committing");
    }
}

/// A relay that died between the two steps of a rotation, or a segment that was filled to its end, leaves
/// no record of when the next segment was begun.
#[tokio::test]
async fn g6_segments_that_nobody_noted_are_left_and_emptied_all_the_same() {
    let stack = Stack::new().await;
    let tap = postroom_testkit::Tap::open(&stack.broker, "tap", "#").await;
    let mut owner = stack.database.connect(Login::Owner).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    publish(&mut producer, 10).await;
    owner
        .execute("SELECT setval('outbox.message_position', 2::bigint << 40, true)")
        .await
        .unwrap();
    publish(&mut producer, 10).await;
    let relay = stack
        .relay_with(&[
            ("POSTROOM_RETENTION_SEGMENT_AGE", "1s"),
            ("POSTROOM_RETENTION_KEEP", "0s"),
            ("POSTROOM_RETENTION_CHECK_INTERVAL", "50ms"),
        ])
        .await;
    tap.distinct(20).await;
    eventually("the segment is left at its age", async || {
        relay.metric("postroom_relay_rotations_total") >= 1.0
    })
    .await;
    let mut published = 20;
    eventually("the leaves of both are emptied", async || {
        publish(&mut producer, 1).await;
        published += 1;
        tap.distinct(published).await;
        let left = "SELECT (SELECT count(*) FROM outbox.message_00) + (SELECT count(*) FROM outbox.message_02)";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&mut owner).await.expect("counting");
        left == 0
    })
    .await;
}

/// If tables were copied into those of another outbox whose segment 0 is still recorded, segment 16 lies in the leaf of
/// segment 0 without a rotation.
#[tokio::test]
async fn g6_a_leaf_is_not_emptied_of_a_later_segment() {
    let stack = Stack::new().await;
    let tap = postroom_testkit::Tap::open(&stack.broker, "tap", "#").await;
    let mut owner = stack.database.connect(Login::Owner).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    owner
        .execute("SELECT setval('outbox.message_position', 16::bigint << 40, true)")
        .await
        .unwrap();
    publish(&mut producer, 10).await;
    let relay = stack
        .relay_with(&[
            ("POSTROOM_RETENTION_KEEP", "0s"),
            ("POSTROOM_RETENTION_CHECK_INTERVAL", "50ms"),
        ])
        .await;
    let mut published = 10;
    eventually("segment 0 is forgotten", async || {
        publish(&mut producer, 1).await;
        published += 1;
        tap.distinct(published).await;
        relay.metric("postroom_relay_expired_segments_total") >= 1.0
    })
    .await;
    let left = "SELECT count(*) FROM outbox.message_00 WHERE position >= 16::bigint << 40";
    let left: i64 = sqlx::query_scalar(left)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(left, published as i64);
    let noted = "SELECT EXISTS (SELECT FROM outbox.segment WHERE segment = 0)";
    let noted: bool = sqlx::query_scalar(noted)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert!(!noted);
}

/// A reader of a leaf delays only the emptying of this leaf: producers go on, other leaves are emptied and used, and
/// the relay still records what it delivers.
#[tokio::test]
async fn g6_a_leaf_that_somebody_reads_is_emptied_later_and_nobody_waits_for_that() {
    let stack = Stack::new().await;
    let _tap = postroom_testkit::Tap::open(&stack.broker, "tap", "#").await;
    let mut reader = stack.database.connect(Login::Owner).await;
    let mut reading = reader.begin().await.unwrap();
    reading
        .execute("SELECT count(*) FROM outbox.message_00")
        .await
        .unwrap();
    let relay = stack
        .relay_with(&[
            ("POSTROOM_RETENTION_SEGMENT_ROWS", "50"),
            ("POSTROOM_RETENTION_KEEP", "0s"),
            ("POSTROOM_RETENTION_CHECK_INTERVAL", "50ms"),
        ])
        .await;
    let owner = stack.database.pool(Login::Owner).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let holds = async |leaf: &str| {
        let sql = format!("SELECT EXISTS (SELECT FROM outbox.message_{leaf})");
        sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql))
            .fetch_one(&owner)
            .await
            .expect("looking into a leaf")
    };
    for round in 0..10 {
        publish(&mut producer, 60).await;
        eventually("everything is delivered, and recorded so", async || {
            stack.database.undelivered_and_parked(&owner).await == (0, 0)
        })
        .await;
        assert!(
            holds("00").await,
            "emptied in round {round} despite its reader"
        );
    }
    // The snapshot of the last frame decides how far leaves may be emptied. Transactions of other tests that were open
    // in one snapshot have ended in the next.
    eventually("the leaf after it has been emptied", async || {
        publish(&mut producer, 1).await;
        !holds("01").await
    })
    .await;
    assert!(holds("00").await, "emptied despite its reader");
    reading.commit().await.unwrap();
    eventually("the leaf is emptied once its reader has gone", async || {
        publish(&mut producer, 1).await;
        !holds("00").await
    })
    .await;
    assert!(relay.metric("postroom_relay_expired_segments_total") >= 2.0);
}
