//! A publication for all tables, by which many databases are replicated, stops neither relay nor consumer.

use postroom_testkit::{Database, Login, Stack, Tap, eventually};
use sqlx::Executor as _;

const INNOCENT: usize = 20;

#[tokio::test]
async fn parked_rows_are_changed_and_deleted_under_a_publication_for_all_tables() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let publication = "CREATE PUBLICATION everything FOR ALL TABLES";
    let mut admin = stack.database.connect(Login::Admin).await;
    admin.execute(publication).await.unwrap();
    let _relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute("SELECT outbox.publish('unbound', '0', key => 'k')")
        .await
        .unwrap();
    sqlx::query("SELECT outbox.publish('bound', to_jsonb(n)) FROM generate_series(1, $1) AS n")
        .bind(INNOCENT as i32)
        .execute(&mut producer)
        .await
        .unwrap();
    tap.distinct(INNOCENT).await;
    let mut owner = stack.database.connect(Login::Owner).await;
    eventually("the unroutable one is tried again", async || {
        let attempts = sqlx::query_scalar("SELECT max(attempts) FROM outbox.parked");
        let attempts: Option<i32> = attempts.fetch_one(&mut owner).await.unwrap();
        attempts > Some(1)
    })
    .await;
    let late = Tap::open(&stack.broker, "late", "unbound").await;
    late.distinct(1).await;
    stack.delivered().await;
    // As a rebase does.
    let mut relay = stack.database.connect(Login::Relay).await;
    relay.execute("DELETE FROM outbox.dropped").await.unwrap();
    assert_eq!((tap.seen().len(), late.seen().len()), (INNOCENT, 1));
}

#[tokio::test]
async fn every_table_that_is_updated_or_deleted_from_has_a_primary_key() {
    let database = Database::new().await;
    let without: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class AS c
         JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('outbox', 'inbox') AND c.relkind IN ('r', 'p')
           AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
           -- Messages are written and truncated, nothing else.
           AND c.oid <> 'outbox.message'::regclass
           AND c.oid NOT IN (SELECT inhrelid FROM pg_inherits
                             WHERE inhparent = 'outbox.message'::regclass)
         ORDER BY 1",
    )
    .fetch_all(&mut database.connect(Login::Owner).await)
    .await
    .unwrap();
    assert_eq!(without, [""; 0]);
}
