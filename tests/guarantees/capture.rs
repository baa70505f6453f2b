//! G1, G3 and G4 under concurrent writers of every kind, with rotation and expiry in between.
//!
//! `docs/faults.md` lists the traps that these tests catch; `scripts/traps` puts each back.
#![allow(clippy::expect_used)] // Helpers of tests.

use history::judge_queue;
use postroom_testkit::{Login, RelayProcess, Stack, Tap, eventually};
use support::load::{self, Load};

/// Runs a load beside `disturb`, then judges everything.
async fn run(
    stack: &Stack,
    load: &Load,
    relay: RelayProcess,
    disturb: impl AsyncFnOnce(RelayProcess) -> RelayProcess,
) {
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    load.prepare(&stack.database).await;
    let (_relay, ()) = tokio::join!(disturb(relay), load.run(&stack.database));
    let committed = load::committed(&stack.database).await;
    assert!(
        committed.len() > load.writers * load.rounds / 2,
        "the load committed next to nothing"
    );
    // Lost messages never come: wait for the system's own word first, then for the queue.
    stack.delivered().await;
    tap.distinct(committed.len()).await;
    let report = judge_queue(&committed, &support::history_of(&tap));
    report.assert_clean();
}

fn rotating(page_rows: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("POSTROOM_CAPTURE_PAGE_ROWS", page_rows),
        ("POSTROOM_RETENTION_SEGMENT_ROWS", "150"),
        ("POSTROOM_RETENTION_KEEP", "0s"),
        ("POSTROOM_RETENTION_CHECK_INTERVAL", "100ms"),
    ]
}

#[tokio::test]
async fn g4_concurrent_writers_are_captured_exactly_and_in_order_in_pages_of_1() {
    let stack = Stack::new().await;
    let relay = stack.relay_with(&rotating("1")).await;
    run(&stack, &Load::new(15), relay, async |relay| relay).await;
}

#[tokio::test]
async fn g4_concurrent_writers_are_captured_exactly_and_in_order_in_pages_of_3() {
    let stack = Stack::new().await;
    let relay = stack.relay_with(&rotating("3")).await;
    run(&stack, &Load::new(25), relay, async |relay| relay).await;
}

#[tokio::test]
async fn g4_concurrent_writers_are_captured_exactly_and_in_order_in_pages_of_5000() {
    let stack = Stack::new().await;
    let relay = stack.relay_with(&rotating("5000")).await;
    run(&stack, &Load::new(40), relay, async |relay| relay).await;
}

#[tokio::test]
async fn g3_nothing_is_lost_when_the_relay_is_killed_again_and_again() {
    let stack = Stack::new().await;
    let relay = stack.relay_with(&rotating("3")).await;
    run(&stack, &Load::new(25), relay, async |mut relay| {
        let pool = stack.database.pool(Login::Owner).await;
        for _ in 0..5 {
            let before = checkpoints(&pool).await;
            eventually("the relay records", async || {
                checkpoints(&pool).await > before + 3
            })
            .await;
            relay.kill().await;
            relay = stack.start_relay(&rotating("3"));
        }
        relay
    })
    .await;
}

async fn checkpoints(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM outbox.checkpoint")
        .fetch_one(pool)
        .await
        .expect("asking for checkpoints")
}

/// A rebase anchors at the highest position handed out; of an unused sequence that is none.
#[tokio::test]
async fn trap_3_the_first_row_of_an_unused_sequence_is_delivered() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let pool = stack.database.pool(Login::Owner).await;
    let relay = stack.relay().await;
    eventually("a checkpoint is recorded", async || {
        checkpoints(&pool).await > 0
    })
    .await;
    assert!(relay.stop().await.success());
    let url = stack.database.url(Login::Relay);
    postroom_testkit::command::relay(
        &["rebase", "--force", "--database-url", &url],
        &[] as &[(&str, &str)],
    )
    .await
    .succeeded();
    let _relay = stack.relay().await;
    eventually("the walk to the anchor is over", async || {
        let walking: bool = sqlx::query_scalar(
            "SELECT anchor IS NOT NULL FROM outbox.checkpoint ORDER BY id DESC LIMIT 1",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        !walking
    })
    .await;
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut producer)
        .await
        .unwrap();
    tap.distinct(1).await;
}

#[tokio::test]
async fn trap_8_an_open_writer_does_not_make_frames_read_old_rows_again() {
    let stack = Stack::new().await;
    stack
        .database
        .ddl("CREATE TABLE elsewhere (note text)")
        .await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut open = outbox::transaction::begin(&pool).await.unwrap();
    sqlx::query("INSERT INTO elsewhere VALUES ('open')")
        .execute(&mut *open)
        .await
        .unwrap();
    let (rounds, rows) = (60, 100);
    for round in 1..=rounds {
        sqlx::query("SELECT outbox.publish('t', '1') FROM generate_series(1, $1)")
            .bind(rows)
            .execute(&pool)
            .await
            .unwrap();
        tap.distinct((round * rows) as usize).await;
    }
    stack.delivered().await;
    open.rollback().await.unwrap();
    let written = i64::from(rounds * rows);
    let owner = stack.database.pool(Login::Owner).await;
    let read = async || -> i64 {
        sqlx::query_scalar(
            "SELECT sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables
             WHERE schemaname = 'outbox' AND relname LIKE 'message\\___'",
        )
        .fetch_one(&owner)
        .await
        .unwrap()
    };
    // Statistics arrive with a delay.
    eventually("the reads are counted", async || read().await >= written).await;
    let factor = read().await as f64 / written as f64;
    // Some ten times: each look reads what came since the last checkpoint. With one floor for both sets
    // it would be some 260 times, and more with every round.
    assert!(factor < 50.0, "each row was read {factor:.1} times");
}
