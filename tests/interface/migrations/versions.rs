//! A schema that a release does not know is refused with what to do.

use migrations::SCHEMA_VERSION;
use postroom_testkit::{Database, Login};
use sqlx::{AssertSqlSafe, Executor as _};

/// Returns the library's refusal after a change by the owner.
async fn refusal(change: &str) -> String {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    owner
        .execute(AssertSqlSafe(change.to_owned()))
        .await
        .unwrap();
    let mut relay = database.connect(Login::Relay).await;
    let refused = outbox::schema::check(&mut relay).await.unwrap_err();
    // The question leaves the connection usable.
    relay.execute("SELECT 1").await.unwrap();
    refused.to_string()
}

#[tokio::test]
async fn the_schema_of_this_release_is_accepted_from_every_role() {
    let database = Database::new().await;
    for login in [Login::Owner, Login::Producer, Login::Relay, Login::Consumer] {
        let mut connection = database.connect(login).await;
        outbox::schema::check(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_newer_schema_asks_for_a_newer_release() {
    let error = refusal("INSERT INTO outbox.migration VALUES (999, 'from_the_future')").await;
    assert_eq!(
        error,
        format!(
            "the database's Postroom schema is at version 999, this release knows up to {SCHEMA_VERSION}; \
             use a newer release"
        )
    );
}

/// A later migration says that releases of this version can work with it.
#[tokio::test]
async fn a_newer_schema_that_this_release_can_work_with_is_accepted() {
    let database = Database::new().await;
    let mut owner = database.connect(Login::Owner).await;
    let next = SCHEMA_VERSION + 1;
    for (compatible_from, accepted) in [(4, true), (SCHEMA_VERSION, true), (next, false)] {
        let change = format!(
            "DELETE FROM outbox.migration WHERE version = {next};
             INSERT INTO outbox.migration (version, name, compatible_from)
             VALUES ({next}, 'from_the_future', {compatible_from})"
        );
        owner.execute(AssertSqlSafe(change)).await.unwrap();
        let checked = outbox::schema::check(&mut owner).await;
        assert_eq!(checked.is_ok(), accepted, "{compatible_from}");
    }
}

/// The release before compares the version with 2.
#[tokio::test]
async fn releases_of_version_2_find_their_version() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    let version = sqlx::query_scalar("SELECT outbox.schema_version()");
    let version: i32 = version.fetch_one(&mut producer).await.unwrap();
    assert_eq!(version, 2);
}

#[tokio::test]
async fn a_schema_of_the_release_before_asks_for_the_migrations() {
    let database = Database::empty().await;
    for file in ["0001_outbox.sql", "0002_inbox.sql"] {
        database.apply(file);
    }
    let mut owner = database.connect(Login::Owner).await;
    let refused = outbox::schema::check(&mut owner).await.unwrap_err();
    assert!(
        matches!(refused, outbox::schema::SchemaError::Old { found: 2 }),
        "{refused}"
    );
}

#[tokio::test]
async fn an_older_schema_asks_for_the_migrations() {
    let error = refusal("DELETE FROM outbox.migration WHERE version >= 3").await;
    assert_eq!(
        error,
        format!(
            "the database's Postroom schema is at version 2, this release needs {SCHEMA_VERSION}; \
             apply the newer files of migrations/ or run `relay migrate`"
        )
    );
}

#[tokio::test]
async fn a_missing_schema_asks_for_migrations_and_roles() {
    for change in [
        "DROP FUNCTION outbox.schema_version()",
        "DROP SCHEMA inbox CASCADE; DROP SCHEMA outbox CASCADE",
    ] {
        let error = refusal(change).await;
        assert!(
            error.contains("no Postroom schema")
                && error.contains("`relay migrate`")
                && error.contains("roles.sql"),
            "{change}: {error}"
        );
    }
}

#[tokio::test]
async fn a_schema_that_may_not_be_used_asks_for_the_roles_alone() {
    for change in [
        "REVOKE USAGE ON SCHEMA outbox FROM outbox_relay",
        "REVOKE EXECUTE ON FUNCTION outbox.schema_version() FROM PUBLIC, outbox_relay",
    ] {
        let error = refusal(change).await;
        assert!(
            error.contains("may not use the database's Postroom schema")
                && error.contains("GRANT outbox_producer, inbox_consumer or outbox_relay")
                && error.contains("roles.sql")
                && !error.contains("migrate"),
            "{change}: {error}"
        );
    }
}
