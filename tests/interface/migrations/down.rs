//! `down.sql` refuses to run while objects outside of the schemas depend on the schemas.

use postroom_testkit::{Database, Login};
use sqlx::{Executor as _, postgres::PgDatabaseError};

/// Objects of applications, with the step that removes them before Postroom is removed.
const OTHERS: [(&str, &str, &str); 6] = [
    (
        "CREATE TABLE mine (id uuid DEFAULT outbox.uuid_v7())",
        "column id of table public.mine",
        "ALTER TABLE mine ALTER id DROP DEFAULT",
    ),
    (
        "CREATE TABLE keyed (key outbox.key)",
        "column key of table public.keyed",
        "DROP TABLE keyed",
    ),
    (
        "CREATE VIEW waiting AS SELECT topic FROM outbox.readable",
        "view public.waiting",
        "DROP VIEW waiting",
    ),
    (
        "CREATE VIEW dead AS SELECT id FROM inbox.parked WHERE state = 'dead'",
        "view public.dead",
        "DROP VIEW dead",
    ),
    (
        "CREATE FUNCTION newest() RETURNS outbox.parked LANGUAGE sql
         AS 'SELECT * FROM outbox.parked ORDER BY position DESC LIMIT 1'",
        "function public.newest()",
        "DROP FUNCTION newest()",
    ),
    (
        "CREATE TABLE follows (segment bigint REFERENCES outbox.segment)",
        "constraint follows_segment_fkey on table public.follows",
        "DROP TABLE follows",
    ),
];

#[tokio::test]
async fn dependent_objects_of_applications_are_kept_and_named() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    // A table that somebody put into the schema `outbox` is dropped with it; a schema of the application stays.
    let inside = "CREATE TABLE outbox.notes (message uuid); CREATE SCHEMA mine";
    owner.execute(inside).await.unwrap();
    for (make, named, unmake) in OTHERS {
        owner.execute(make).await.unwrap();
        // A new connection, because the refusal leaves an aborted transaction behind.
        let mut down = database.connect(Login::Owner).await;
        let refused = down.execute(migrations::DOWN).await.unwrap_err();
        let refused = refused.into_database_error().unwrap();
        let refused: Box<PgDatabaseError> = refused.downcast();
        assert_eq!(
            refused.message(),
            "other objects depend on the schemas outbox and inbox; nothing was removed",
            "{make}"
        );
        let detail = refused.detail().unwrap();
        assert!(detail.contains(named), "{make}: {detail}");
        let hint = refused.hint().unwrap();
        assert!(hint.contains("run this file again"), "{hint}");
        owner.execute(unmake).await.unwrap();
    }
    // The refusals have left everything in place.
    owner
        .execute("SELECT outbox.publish('t', '1')")
        .await
        .unwrap();
    owner.execute(migrations::DOWN).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('outbox', 'inbox', 'mine')",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(left, ["mine"]);
    owner
        .execute("INSERT INTO mine DEFAULT VALUES")
        .await
        .unwrap();
}
