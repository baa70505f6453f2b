//! A sequence of positions that somebody has changed: messages would be lost without a sign.
#![allow(clippy::expect_used)] // Helpers of tests.

use postroom_testkit::{Login, Stack, Tap, eventually};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::{assert_says, refused};

async fn publish(stack: &Stack, count: i32) {
    sqlx::query("SELECT outbox.publish('t', to_jsonb(i)) FROM generate_series(1, $1) AS i")
        .bind(count)
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .expect("publishing");
}

/// Returns the finding of `relay check` about the sequence.
async fn found(stack: &Stack) -> String {
    let check = stack.command(&["check"]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    let failed = |line: &&str| line.starts_with("FAILED");
    let failed: Vec<&str> = check.stdout.lines().filter(failed).collect();
    let [line] = failed[..] else {
        panic!("not one finding: {check:?}");
    };
    assert_says(line, &["sequence"]);
    line.to_owned()
}

/// Returns the repair from the operations guide, with the position that the relay names.
fn mending(position: i64) -> String {
    let guide = include_str!("../../../docs/operations.md");
    let begin = "BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\nLOCK";
    let (_, sql) = guide
        .split_once(&format!("```sql\n{begin}"))
        .expect("the guide's SQL");
    let (sql, _) = sql.split_once("```").expect("its end");
    format!("{begin}{sql}").replace("<position>", &position.to_string())
}

#[tokio::test]
async fn a_sequence_that_was_set_back_is_found_and_what_was_written_meanwhile_is_not_lost() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut relay = stack.relay().await;
    publish(&stack, 20).await;
    tap.distinct(20).await;
    stack.delivered().await;
    let back = "ALTER SEQUENCE outbox.message_position RESTART";
    let mut owner = stack.database.connect(Login::Owner).await;
    owner.execute(back).await.unwrap();
    publish(&stack, 5).await;
    // While it runs: at its next look.
    assert!(!relay.exited().await.success());
    let setval = "SELECT setval('outbox.message_position', 20)";
    let says = ["was set back", "up to 20 were handed out", setval];
    assert_says(&relay.logged(), &says);
    // When it starts, and when one asks.
    assert_says(&refused(&stack, &[]).await, &says);
    assert_says(&found(&stack).await, &says);
    assert_eq!(tap.ids().len(), 20);

    owner.execute(AssertSqlSafe(mending(20))).await.unwrap();
    let relay = stack.relay().await;
    publish(&stack, 5).await;
    tap.distinct(30).await;
    // No position is left that two messages have, which a rebase would refuse.
    assert!(relay.stop().await.success());
    let rebased = stack.command(&["rebase", "--force"]).await;
    assert!(rebased.code == Some(0), "{rebased:?}");
}

#[tokio::test]
async fn a_sequence_that_was_set_back_before_a_crash_is_found_by_the_next_relay() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    publish(&stack, 50).await;
    tap.distinct(50).await;
    stack.delivered().await;
    relay.kill().await;
    let mut owner = stack.database.connect(Login::Owner).await;
    owner
        .execute("SELECT setval('outbox.message_position', 30)")
        .await
        .unwrap();
    publish(&stack, 5).await;
    let error = refused(&stack, &[]).await;
    assert_says(&error, &["stands at 35", "up to 50 were handed out"]);
}

#[tokio::test]
async fn a_sequence_that_does_not_hand_out_one_after_another_is_refused() {
    let stack = Stack::new().await;
    let mut owner = stack.database.connect(Login::Owner).await;
    for (wrong, right) in [
        ("CACHE 100", "CACHE 1"),
        ("INCREMENT 2", "INCREMENT 1"),
        ("CYCLE", "NO CYCLE"),
    ] {
        let alter = |how| format!("ALTER SEQUENCE outbox.message_position {how}");
        owner.execute(AssertSqlSafe(alter(wrong))).await.unwrap();
        let says = [wrong, "ALTER SEQUENCE outbox.message_position CACHE 1"];
        assert_says(&refused(&stack, &[]).await, &says);
        assert_says(&found(&stack).await, &says);
        owner.execute(AssertSqlSafe(alter(right))).await.unwrap();
    }
    let check = stack.command(&["check"]).await;
    check.succeeded();
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    publish(&stack, 5).await;
    tap.distinct(5).await;
    eventually("it is recorded", async || {
        relay.metric("postroom_relay_checkpoints_total") > 0.0
    })
    .await;
}
