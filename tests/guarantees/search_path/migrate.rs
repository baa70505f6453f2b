//! Migrations in a database full of hostile objects.

use migrations::MIGRATIONS;
use postroom_testkit::{Database, Login, command};
use support::migrated;

use crate::hostile::Hostile;

/// Returns the objects of Postroom that depend on hostile objects.
async fn dependencies_on_others(hostile: &Hostile<'_>) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT pg_describe_object(d.classid, d.objid, d.objsubid) || ' on '
                || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
         FROM pg_depend AS d CROSS JOIN pg_identify_object(d.refclassid, d.refobjid, 0) AS foreign_
         CROSS JOIN pg_identify_object(d.classid, d.objid, 0) AS o
         WHERE foreign_.schema IN ('public', 'mallory') AND o.identity ~ '(^| )(outbox|inbox)\\.'",
    )
    .fetch_all(&mut hostile.connect().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn relay_migrate_as_a_superuser_runs_no_hostile_object() {
    let database = Database::empty().await;
    let hostile = Hostile::make(&database).await;
    let url = database.url(Login::Admin);
    let url = [("POSTROOM_DATABASE_URL", url.as_str())];
    for expected in [
        migrated(0) + "roles applied\n",
        migrated(MIGRATIONS.len()) + "roles applied\n",
    ] {
        let ended = command::relay(&["migrate", "--roles"], &url).await;
        hostile.assert_none_ran().await;
        assert_eq!(ended.succeeded(), expected);
    }
    assert_eq!(dependencies_on_others(&hostile).await, [""; 0]);
}

#[tokio::test]
async fn psql_applies_and_removes_the_files_and_runs_no_hostile_object() {
    let database = Database::empty().await;
    let hostile = Hostile::make(&database).await;
    let names = MIGRATIONS.iter().map(|migration| migration.name);
    let all = names.chain(["roles"]).map(|name| format!("{name}.sql"));
    // Applies all files and the roles again, removes everything, and applies all files once more.
    let again = ["roles.sql", "down.sql"].map(str::to_owned);
    for file in all.clone().chain(again).chain(all) {
        database.apply(&file);
        hostile.assert_none_ran().await;
    }
    assert_eq!(dependencies_on_others(&hostile).await, [""; 0]);
    // Uses our functions and tables in a session whose search_path has the hostile objects first.
    let mut owner = database.connect(Login::Owner).await;
    for sql in [
        r#"SELECT outbox.publish('t', '1', 'k', 't', '{"a": 1}', NULL, '2026-01-01', '2036-01-01', true)"#,
        "SELECT outbox.key_lock('k')",
        "SELECT outbox.schema_version(), outbox.schema_level()",
        "SELECT payload FROM outbox.readable",
        "INSERT INTO inbox.parked (consumer, state, reason, holds_key, topic, key, headers, payload)
         VALUES ('c', 'waiting', 'behind', true, 't', 'k', '{}', ''), ('c', 'dead', 'failed', true, 't', 'k', '{}', '')",
        "SELECT inbox.retry(2)",
        "SELECT inbox.release_next('c', 'k')",
        "SELECT inbox.discard(1)",
    ] {
        sqlx::raw_sql(sql).execute(&mut owner).await.expect(sql);
    }
    hostile.assert_none_ran().await;
}
