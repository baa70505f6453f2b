//! An outbox whose rows were copied into another database, as by logical replication: without the
//! sequences, which do not travel.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use futures_util::StreamExt as _;
use postroom_testkit::{Database, Login, PgServer, Stack, Tap};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::{assert_says, refused};

async fn publish(stack: &Stack, count: i32) {
    sqlx::query(
        "SELECT outbox.publish('t', to_jsonb(i), key => 'k') FROM generate_series(1, $1) AS i",
    )
    .bind(count)
    .execute(&mut stack.database.connect(Login::Producer).await)
    .await
    .unwrap();
}

async fn copy(from: &Database, to: &Database, table: &str) {
    let (mut from, mut to) = (
        from.connect(Login::Owner).await,
        to.connect(Login::Owner).await,
    );
    to.execute(AssertSqlSafe(format!("DELETE FROM {table}")))
        .await
        .unwrap();
    let out = format!("COPY (SELECT * FROM {table}) TO STDOUT");
    let mut rows = from.copy_out_raw(&out).await.unwrap();
    let mut copying = to
        .copy_in_raw(&format!("COPY {table} FROM STDIN"))
        .await
        .unwrap();
    while let Some(row) = rows.next().await {
        copying.send(row.unwrap()).await.unwrap();
    }
    copying.finish().await.unwrap();
}

/// An outbox of which ten messages are delivered and five are not, copied.
struct Moved {
    /// Of its own: a rebase waits for the transactions of all databases.
    _server: PgServer,
    _old: Stack,
    new: Stack,
    tap: Tap,
}

impl Moved {
    async fn new() -> Self {
        let server = PgServer::start();
        let old = Stack::on(&server, None).await;
        let tap = Tap::open(&old.broker, "tap", "#").await;
        let relay = old.relay().await;
        for count in 1..=10 {
            publish(&old, 1).await;
            tap.distinct(count).await;
        }
        old.delivered().await;
        assert!(relay.stop().await.success());
        publish(&old, 5).await;
        let new = Stack {
            database: Database::new_on(&server.url()).await,
            broker: old.broker.sibling(),
        };
        for table in ["message", "checkpoint", "segment", "parked"] {
            copy(&old.database, &new.database, &format!("outbox.{table}")).await;
        }
        Self {
            _server: server,
            _old: old,
            new,
            tap,
        }
    }
}

#[tokio::test]
async fn a_rebase_of_rows_that_came_without_their_sequence_loses_nothing() {
    let moved = Moved::new().await;
    let (new, tap) = (&moved.new, &moved.tap);
    assert_says(&refused(new, &[]).await, &["relay rebase"]);
    let said = new.command(&["rebase"]).await;
    let next = 1_i64 << 40;
    let advanced = format!("stood below the highest row, 15: moved to {next}");
    assert_says(said.succeeded(), &[&advanced, &format!("up to {next}")]);
    publish(new, 5).await;
    let relay = new.relay().await;
    tap.distinct(20).await;
    new.delivered().await;
    assert!(relay.stop().await.success());
    new.command(&["check"]).await.succeeded();
}

#[tokio::test]
async fn rows_that_came_without_sequence_and_checkpoint_are_published() {
    let moved = Moved::new().await;
    let (new, tap) = (&moved.new, &moved.tap);
    new.database.ddl("DELETE FROM outbox.checkpoint").await;
    let says = ["stands at 0", "up to 15", "relay rebase"];
    assert_says(&refused(new, &[]).await, &says);
    new.command(&["rebase"]).await.succeeded();
    let _relay = new.relay().await;
    tap.distinct(15).await;
    new.delivered().await;
}

#[tokio::test]
async fn rows_written_before_the_rebase_at_positions_of_copied_rows_are_not_lost() {
    let moved = Moved::new().await;
    let (new, tap) = (&moved.new, &moved.tap);
    publish(new, 3).await;
    let ended = new.command(&["rebase"]).await;
    assert_says(ended.error(), &["3 positions from 1 on are taken twice"]);
    let guide = include_str!("../../../docs/operations.md");
    let (_, sql) = guide
        .split_once("```sql\nSET search_path = pg_catalog, pg_temp;\nWITH later")
        .expect("the guide's SQL");
    let (sql, _) = sql.split_once("```").expect("its end");
    let mut owner = new.database.connect(Login::Owner).await;
    owner
        .execute(AssertSqlSafe(format!("WITH later{sql}")))
        .await
        .unwrap();
    new.command(&["rebase"]).await.succeeded();
    let _relay = new.relay().await;
    tap.distinct(18).await;
    new.delivered().await;
}

/// As after a dump that was taken before any relay ran, restored where fewer transactions were: no snapshot of
/// this server shows such ids as committed.
#[tokio::test]
async fn g3_rows_of_a_server_that_was_ahead_are_not_passed_over() {
    let moved = Moved::new().await;
    let (new, tap) = (&moved.new, &moved.tap);
    let ahead = "DELETE FROM outbox.checkpoint;
                 UPDATE outbox.message SET xid = (xid::text::bigint + 1000000)::text::xid8;
                 SELECT setval('outbox.message_position', 15)";
    new.database.ddl(ahead).await;
    assert_says(
        &refused(new, &[]).await,
        &["another database", "relay rebase"],
    );
    let checked = new.command(&["check"]).await;
    assert_says(&checked.stdout, &["none yet, and rows of another database"]);
    new.command(&["rebase"]).await.succeeded();
    publish(new, 5).await;
    let _relay = new.relay().await;
    tap.distinct(20).await;
}

/// Rows that arrive after the rebase would lie below its floor.
#[tokio::test]
async fn a_rebase_is_refused_while_rows_still_come_by_replication() {
    let server = PgServer::start_with("wal_level = logical");
    let old = Stack::on(&server, None).await;
    let new = Database::new_on(&server.url()).await;
    let mut owner = old.database.connect(Login::Admin).await;
    let publication = "CREATE PUBLICATION old FOR TABLE outbox.message";
    owner.execute(publication).await.unwrap();
    let slot = "SELECT pg_create_logical_replication_slot('old', 'pgoutput')";
    owner.execute(slot).await.unwrap();
    let mut here = new.connect(Login::Admin).await;
    let subscription = format!(
        "CREATE SUBSCRIPTION \"from Old\" CONNECTION '{}' PUBLICATION old
         WITH (create_slot = false, slot_name = 'old', copy_data = false)",
        old.database.url(Login::Admin)
    );
    here.execute(AssertSqlSafe(subscription)).await.unwrap();
    let stack = Stack {
        database: new,
        broker: old.broker.sibling(),
    };
    let refused = stack.command(&["rebase"]).await;
    assert_says(refused.error(), &["DROP SUBSCRIPTION \"from Old\""]);
    assert_says(refused.error(), &["logical replication still brings rows"]);
    here.execute("DROP SUBSCRIPTION \"from Old\"")
        .await
        .unwrap();
    stack.command(&["rebase"]).await.succeeded();
}
