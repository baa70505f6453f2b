//! The objects that each statement of the libraries depends on, in a service's session whose `search_path` finds
//! foreign objects first.

use postroom_testkit::{Database, Login};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::hostile::Hostile;

/// Foreign objects that a statement depends on. A function is made of it, and the server keeps that for functions.
async fn foreign(session: &mut PgConnection, hostile: &Hostile<'_>, sql: &str) -> Vec<String> {
    let prepare = format!("PREPARE looked_at AS {sql}");
    if let Err(refused) = session.execute(AssertSqlSafe(prepare)).await {
        // As where several foreign objects fit equally well.
        return vec![refused.to_string()];
    }
    let types = "SELECT pg_catalog.array_to_string(s.parameter_types, ', ')
                 FROM pg_catalog.pg_prepared_statements AS s";
    let types = sqlx::raw_sql(types).fetch_one(&mut *session).await.unwrap();
    let make = format!(
        "DEALLOCATE looked_at;
         CREATE FUNCTION proof.looked_at({}) RETURNS void LANGUAGE sql BEGIN ATOMIC {sql}; END",
        types.get::<String, _>(0)
    );
    session.execute(AssertSqlSafe(make)).await.expect(sql);
    let mut admin = hostile.connect().await;
    let foreign = sqlx::query_scalar(
        "SELECT pg_describe_object(d.refclassid, d.refobjid, 0)
         FROM pg_depend AS d CROSS JOIN pg_identify_object(d.refclassid, d.refobjid, 0) AS o
         WHERE d.classid = 'pg_proc'::regclass AND d.objid = 'proof.looked_at'::regproc
           AND (o.schema IN ('public', 'mallory') OR o.schema LIKE 'pg_temp%') ORDER BY 1",
    );
    let foreign = foreign.fetch_all(&mut admin).await.unwrap();
    admin
        .execute("DROP FUNCTION proof.looked_at")
        .await
        .unwrap();
    foreign
}

/// A session of a service that finds foreign objects first, temporary ones of its own among them.
async fn session(database: &Database, hostile: &Hostile<'_>) -> PgConnection {
    let mut admin = hostile.connect().await;
    admin.execute("CREATE SCHEMA proof").await.unwrap();
    let mut session = database.connect(Login::Admin).await;
    session
        .execute("CREATE TEMP TABLE text (); CREATE TEMP TABLE uuid (); CREATE TEMP TABLE pg_stat_activity (pid text)")
        .await
        .unwrap();
    session
}

#[tokio::test]
async fn no_statement_of_the_libraries_depends_on_foreign_objects() {
    let database = Database::new().await;
    let hostile = Hostile::make(&database).await;
    let mut session = session(&database, &hostile).await;
    let commit = inbox::statements::commit_and_begin("1");
    let [_, ends, _] = inbox::statements::of_leaf(3);
    let built = [
        ("commit_and_begin", commit.split(';').next().unwrap()),
        ("of_leaf", ends.as_str()),
    ];
    let listed = [outbox::statements::ALL, inbox::statements::ALL].concat();
    let mut looked_at = 0;
    for (name, sql) in listed.into_iter().chain(built) {
        let verb = sql.split_whitespace().next().unwrap();
        if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb) {
            assert_eq!(
                foreign(&mut session, &hostile, sql).await,
                [""; 0],
                "{name}"
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 35, "{looked_at}");
    hostile.assert_none_ran().await;
}

/// Otherwise the test above would show nothing.
#[tokio::test]
async fn a_statement_with_bare_names_depends_on_foreign_objects() {
    let database = Database::new().await;
    let hostile = Hostile::make(&database).await;
    let mut session = session(&database, &hostile).await;
    for (sql, object) in [
        (
            "SELECT FROM outbox.message AS m WHERE m.lane = $1",
            "operator public.=(outbox.lane,outbox.lane)",
        ),
        (
            "SELECT FROM inbox.parked AS p WHERE p.id = 1",
            "operator public.=(bigint,integer)",
        ),
        (
            "SELECT FROM inbox.parked AS p WHERE p.state IN ('dead', 'waiting')",
            "operator public.=(text,text)",
        ),
        (
            "SELECT FROM inbox.parked AS p WHERE p.source IS DISTINCT FROM $1",
            "operator public.=(text,text)",
        ),
        (
            "SELECT FROM inbox.parked AS p WHERE p.reason LIKE '%a'",
            "operator public.~~(text,text)",
        ),
        (
            "SELECT FROM inbox.parked AS p JOIN inbox.processed AS q USING (consumer)",
            "operator public.=(inbox.consumer,inbox.consumer)",
        ),
        ("SELECT clock_timestamp()", "function clock_timestamp()"),
        (
            "SELECT min(p.consumer) FROM inbox.processed AS p",
            "function min(inbox.consumer)",
        ),
        (
            "SELECT pg_sequence_last_value('outbox.message_position')",
            "function pg_sequence_last_value(text)",
        ),
        ("SELECT $1::xid8", "type xid8"),
        ("SELECT $1::text IS NULL", "type"),
        ("SELECT FROM pg_locks", "view pg_locks"),
    ] {
        let found = foreign(&mut session, &hostile, sql).await;
        let named = |other: &String| {
            other
                .replace("public.", "")
                .contains(&object.replace("public.", ""))
        };
        assert!(found.iter().any(named), "{sql}: {found:?}");
    }
}

/// Requests of several statements and blocks of code cannot be looked into: they are run.
#[tokio::test]
async fn requests_that_end_sessions_run_nothing_foreign() {
    let database = Database::new().await;
    let hostile = Hostile::make(&database).await;
    for (name, sql) in inbox::statements::REQUESTS {
        let mut session = database.connect(Login::Consumer).await;
        let mut changed = database.connect(Login::Consumer).await;
        let ran = session.execute(*sql).await;
        let ends = ran.is_err();
        assert_eq!(ends, *name == "late_answer::END", "{name}: {ran:?}");
        changed.execute("SET ROLE inbox_consumer").await.unwrap();
        let ends = changed.execute(*sql).await.is_err();
        assert_eq!(ends, *name != "session::CHECK_CONSTRAINTS", "{name}");
        hostile.assert_none_ran().await;
    }
}
