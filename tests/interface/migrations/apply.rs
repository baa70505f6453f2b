//! Applying, removing and applying again; by psql and by `relay migrate`.

use migrations::{MIGRATIONS, SCHEMA_VERSION};
use postroom_testkit::{Database, Login, command, variable};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use support::migrated;

async fn version(database: &Database) -> i32 {
    sqlx::query_scalar("SELECT outbox.schema_level()")
        .fetch_one(&mut database.connect(Login::Producer).await)
        .await
        .unwrap()
}

/// Returns all objects in schemas that users made, apart from the objects of extensions.
async fn objects(owner: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT n.nspname || '.' || o.name FROM pg_namespace AS n
         CROSS JOIN LATERAL (
             SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = n.oid
             UNION ALL SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = n.oid
             UNION ALL SELECT t.typname FROM pg_type AS t WHERE t.typnamespace = n.oid
             UNION ALL SELECT '(schema)' WHERE n.nspname <> 'public') AS o (name)
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1",
    )
    .fetch_all(owner)
    .await
    .unwrap()
}

fn apply_all(database: &Database) {
    for migration in MIGRATIONS {
        database.apply(&format!("{}.sql", migration.name));
    }
    database.apply("roles.sql");
}

#[tokio::test]
async fn psql_applies_the_files_as_an_owner_who_is_no_superuser() {
    let database = Database::empty().await;
    let mut owner = database.connect(Login::Owner).await;
    let is_superuser: bool =
        sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert!(!is_superuser);
    apply_all(&database);
    assert_eq!(version(&database).await, SCHEMA_VERSION);
}

#[tokio::test]
async fn down_removes_everything_and_up_works_again() {
    let database = Database::empty().await;
    let mut owner = database.connect(Login::Owner).await;
    let before = objects(&mut owner).await;
    apply_all(&database);
    let migrated = objects(&mut owner).await;
    assert!(migrated.len() > before.len() + 50, "{migrated:?}");
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut owner)
        .await
        .unwrap();
    database.apply("down.sql");
    assert_eq!(objects(&mut owner).await, before);
    // Down is harmless where there is nothing.
    database.apply("down.sql");
    apply_all(&database);
    assert_eq!(objects(&mut owner).await, migrated);
    assert_eq!(version(&database).await, SCHEMA_VERSION);
}

#[tokio::test]
async fn roles_can_be_applied_again() {
    let database = Database::new().await;
    let grants = async || -> Vec<String> {
        sqlx::query_scalar(
            "SELECT c.oid::regclass || ' ' || coalesce(c.relacl::text, '') FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('outbox', 'inbox') ORDER BY 1",
        )
        .fetch_all(&mut database.connect(Login::Owner).await)
        .await
        .unwrap()
    };
    let once = grants().await;
    database.apply("roles.sql");
    assert_eq!(grants().await, once);
}

/// The roles may have been made by another user than the database's owner.
#[tokio::test]
async fn roles_that_exist_need_nobody_who_may_create_roles() {
    let database = Database::empty().await;
    let mut admin = database.connect(Login::Admin).await;
    let owned = format!(
        "ALTER DATABASE {} OWNER TO postroom_test_producer",
        database.name
    );
    admin.execute(AssertSqlSafe(owned)).await.unwrap();
    let url = database.url(Login::Producer);
    let url = [("POSTROOM_DATABASE_URL", url.as_str())];
    let ended = command::relay(&["migrate", "--roles"], &url).await;
    assert_eq!(ended.succeeded(), migrated(0) + "roles applied\n");
    let mut relay = database.connect(Login::Relay).await;
    outbox::schema::check(&mut relay).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_refused() {
    let database = Database::empty().await;
    let mut admin = PgConnection::connect(&variable("POSTROOM_DATABASE_URL"))
        .await
        .unwrap();
    let name = &database.name;
    let latin1 = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    for sql in [
        format!("DROP DATABASE {name}"),
        format!("CREATE DATABASE {name} OWNER postroom_test_owner {latin1}"),
    ] {
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let ended = migrate(&database, &[]).await;
    let error = ended.error();
    assert!(
        error.contains("Postroom needs a database in UTF8, this one is in LATIN1"),
        "{error}"
    );
    let mut owner = database.connect(Login::Owner).await;
    assert_eq!(objects(&mut owner).await, [""; 0]);
}

async fn migrate(database: &Database, arguments: &[&str]) -> command::Ended {
    let arguments = [&["migrate"], arguments].concat();
    let url = database.url(Login::Owner);
    command::relay(&arguments, &[("POSTROOM_DATABASE_URL", url.as_str())]).await
}

#[tokio::test]
async fn relay_migrate_applies_each_file_once() {
    let database = Database::empty().await;
    let ended = migrate(&database, &["--roles"]).await;
    assert_eq!(ended.succeeded(), migrated(0) + "roles applied\n");
    assert_eq!(version(&database).await, SCHEMA_VERSION);
    let again = migrate(&database, &[]).await;
    assert_eq!(again.succeeded(), migrated(MIGRATIONS.len()));
    // `relay migrate` keeps its records in Postroom's own schema.
    let mut owner = database.connect(Login::Owner).await;
    let elsewhere: Vec<String> = objects(&mut owner)
        .await
        .into_iter()
        .filter(|name| !name.starts_with("outbox.") && !name.starts_with("inbox."))
        .collect();
    assert_eq!(elsewhere, [""; 0]);
}

/// As several services do that are started at the same time.
#[tokio::test]
async fn relay_migrate_several_times_at_once_applies_each_file_once() {
    let database = Database::empty().await;
    let each = async || migrate(&database, &["--roles"]).await;
    let all: [command::Ended; 4] = tokio::join!(each(), each(), each(), each()).into();
    let applied = |ended: &&command::Ended| ended.succeeded().contains("0001_outbox applied\n");
    assert_eq!(all.iter().filter(applied).count(), 1);
    assert_eq!(version(&database).await, SCHEMA_VERSION);
}

#[tokio::test]
async fn relay_migrate_goes_on_where_psql_stopped() {
    let database = Database::empty().await;
    database.apply("0001_outbox.sql");
    let ended = migrate(&database, &[]).await;
    assert_eq!(ended.succeeded(), migrated(1));
}

#[tokio::test]
async fn relay_migrate_print_shows_what_a_database_administrator_reads_and_needs_no_server() {
    let nothing: [(&str, &str); 0] = [];
    let printed = command::relay(&["migrate", "--print", "--roles"], &nothing).await;
    for migration in MIGRATIONS {
        assert!(printed.succeeded().contains(migration.sql));
    }
    assert!(printed.succeeded().contains(migrations::ROLES));
}

#[tokio::test]
async fn relay_migrate_as_somebody_else_than_the_owner_says_so() {
    let database = Database::empty().await;
    let url = database.url(Login::Producer);
    let ended = command::relay(&["migrate"], &[("POSTROOM_DATABASE_URL", url.as_str())]).await;
    let error = ended.error();
    assert!(
        error.contains("applying 0001_outbox as the schema's owner")
            && error.contains("permission denied for database"),
        "{error}"
    );
}
