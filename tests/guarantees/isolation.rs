//! Databases whose transactions are stricter than `read committed` unless they say otherwise.
#![allow(clippy::expect_used)] // Helpers of tests.

use postroom_testkit::{Login, Stack, eventually};
use sqlx::{AssertSqlSafe, Executor as _};
use support::{
    ConsumerProcess, judged_effects,
    load::{self, Load},
};

/// A stack in whose database all transactions have this isolation by default.
async fn stack(isolation: &str) -> Stack {
    let stack = Stack::new().await;
    ConsumerProcess::prepare(&stack.database).await;
    let name = &stack.database.name;
    let sql = format!("ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'");
    stack.database.ddl(&sql).await;
    // The judge's own transactions must not meet conflicts.
    let owner = "postroom_test_owner";
    let sql = format!(
        "ALTER ROLE {owner} IN DATABASE {name} SET default_transaction_isolation = 'read committed'"
    );
    stack.database.ddl(&sql).await;
    stack
}

async fn count(stack: &Stack, sql: &'static str) -> i64 {
    let mut owner = stack.database.connect(Login::Owner).await;
    sqlx::query_scalar(sql)
        .fetch_one(&mut owner)
        .await
        .expect("counting")
}

async fn execute(stack: &Stack, sql: &str) {
    let mut owner = stack.database.connect(Login::Owner).await;
    owner
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .expect("a statement of the test");
}

/// Twenty messages of two keys whose handler fails for as long as something stands in `broken`.
const FAILING: &str = "
INSERT INTO broken VALUES ('it');
WITH written AS (
    INSERT INTO ledger
    SELECT gen_random_uuid(), 'failing-' || n % 2, n / 2 FROM generate_series(0, 19) AS n
    RETURNING id, key, place)
SELECT outbox.publish('load', '{\"by\": \"failing\"}', key => key, message_id => id)
FROM (SELECT * FROM written ORDER BY place) AS w";

/// The whole way: conflicts among producers and among consumers, parking, and what is parked drains.
async fn judge(isolation: &str) {
    let stack = stack(isolation).await;
    let _relay = stack.relay().await;
    let load = Load {
        slow: false,
        ..Load::new(20)
    };
    load.prepare(&stack.database).await;
    let consumers = [1, 20].map(|together| ConsumerProcess::start(&stack, together));
    execute(&stack, FAILING).await;
    load.run(&stack.database).await;
    eventually("what fails is parked", async || {
        count(&stack, "SELECT count(*) FROM inbox.parked").await == 20
    })
    .await;
    execute(&stack, "DELETE FROM broken").await;
    assert!(load::committed(&stack.database).await.len() > 100);
    judged_effects(&stack.database).await.assert_clean();
    eventually("nothing stays parked", async || {
        count(&stack, "SELECT count(*) FROM inbox.parked").await == 0
    })
    .await;
    for consumer in consumers {
        consumer.stop().await;
    }
    judged_effects(&stack.database).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g5_where_every_transaction_reads_one_snapshot() {
    judge("repeatable read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g5_where_every_transaction_is_serializable() {
    judge("serializable").await;
}

/// Serializable statements of the relay would conflict with those of producers, and leave locks on the rows that they
/// read.
#[tokio::test]
async fn the_relay_reads_committed_whatever_the_default() {
    let stack = stack("serializable").await;
    // While one that has written is open, the locks of others that have read would stay.
    let mut open = stack.database.connect(Login::Producer).await;
    open.execute("BEGIN; SELECT count(*) FROM effect; SELECT outbox.publish('t', '1')")
        .await
        .expect("an open transaction");
    let _relay = stack.relay().await;
    execute(&stack, "SELECT outbox.publish('t', '2')").await;
    let parked = "SELECT count(*) FROM outbox.parked";
    eventually("what no queue takes is parked", async || {
        count(&stack, parked).await == 1
    })
    .await;
    let locked = |whose: &'static str| {
        let name = &stack.database.name;
        format!(
            "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
             WHERE l.mode = 'SIReadLock' AND a.datname = '{name}' AND a.usename {whose} 'postroom_test_relay'"
        )
    };
    let mut admin = stack.database.connect(Login::Admin).await;
    let mut locks = async |whose| -> i64 {
        sqlx::query_scalar(AssertSqlSafe(locked(whose)))
            .fetch_one(&mut admin)
            .await
            .expect("looking at locks")
    };
    assert!(locks("<>").await > 0, "the open transaction has read");
    assert_eq!(locks("=").await, 0, "the relay's sessions read committed");
}
