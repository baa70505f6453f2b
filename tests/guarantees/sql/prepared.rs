//! Every statement fits the schema and the role that runs it.

use std::path::Path;

use postroom_testkit::{Database, Login};
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, PgConnection, SqlSafeStr as _,
    Statement as _,
};

/// Prepares a statement, and plans it if it has a plan: planning checks privileges, preparing does
/// not.
async fn assert_runs(connection: &mut PgConnection, name: &str, sql: &'static str) {
    let prepared = connection.prepare(sql.into_sql_str()).await;
    let parameters = match prepared
        .unwrap_or_else(|e| panic!("{name}: {e}"))
        .parameters()
    {
        Some(Either::Left(types)) => types.len(),
        Some(Either::Right(count)) => count,
        None => 0,
    };
    let verb = sql.split_whitespace().next().unwrap_or_default();
    if !["SELECT", "INSERT", "DELETE", "UPDATE", "WITH"].contains(&verb) {
        return;
    }
    let nulls = vec!["NULL"; parameters].join(", ");
    let arguments = match parameters {
        0 => String::new(),
        _ => format!("({nulls})"),
    };
    let explain = format!(
        "PREPARE looked_at AS {sql}; EXPLAIN EXECUTE looked_at{arguments}; DEALLOCATE looked_at"
    );
    sqlx::raw_sql(AssertSqlSafe(explain))
        .execute(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[tokio::test]
async fn every_statement_of_the_relay_runs_as_the_relays_role() {
    let database = Database::new().await;
    let mut relay = database.connect(Login::Relay).await;
    for (name, sql) in relay::statements::ALL {
        assert_runs(&mut relay, name, sql).await;
    }
    for (name, statements) in relay::statements::OF_LEAVES {
        assert_eq!(statements.len(), 16, "{name}");
        for sql in *statements {
            if ["segment::LOCK", "segment::TRUNCATE"].contains(name) {
                let mut tx = relay.begin().await.unwrap();
                sqlx::query(*sql).execute(&mut *tx).await.unwrap();
            } else {
                assert_runs(&mut relay, name, sql).await;
            }
        }
    }
}

#[tokio::test]
async fn every_statement_of_the_library_runs_as_the_producers_role() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    for (name, sql) in outbox::statements::ALL {
        assert_runs(&mut producer, name, sql).await;
    }
}

#[tokio::test]
async fn every_statement_of_the_inbox_runs_as_the_consumers_role() {
    let database = Database::new().await;
    let mut consumer = database.connect(Login::Consumer).await;
    for (name, sql) in inbox::statements::ALL {
        assert_runs(&mut consumer, name, sql).await;
    }
    let mut tx = consumer.begin().await.unwrap();
    for slot in [0, 63] {
        for sql in inbox::statements::of_leaf(slot) {
            sqlx::query(AssertSqlSafe(sql))
                .execute(&mut *tx)
                .await
                .unwrap();
        }
    }
}

/// Names of the constants in a source folder that hold SQL.
fn constants(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = std::fs::read_to_string(&path).unwrap();
        for line in source.lines() {
            let Some((_, constant)) = line.split_once("const ") else {
                continue;
            };
            if let Some((name, _)) = constant.split_once(": &str =") {
                names.push(format!("{module}::{name}"));
            }
        }
        let inline = source.matches("query(\"").count() + source.matches("query_scalar(\"").count();
        assert_eq!(inline, 0, "{module} runs SQL that no test prepares");
    }
    names.sort();
    names
}

#[test]
fn no_statement_is_left_out() {
    let listed = |all: &[(&str, &str)]| {
        let mut names: Vec<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.sort();
        names
    };
    let folders = ["relay/src/store/sql", "relay/src/store/sql/parked"];
    let mut relay = folders.map(constants).concat();
    // Parts of application names.
    let names = ["holder::FENCED", "holder::RELAY"];
    relay.retain(|name| !names.contains(&name.as_str()));
    relay.sort();
    assert_eq!(listed(relay::statements::ALL), relay);
    let mut outbox = constants("outbox/src");
    outbox.retain(|name| name.starts_with("sql::") || name.starts_with("schema::"));
    assert_eq!(listed(outbox::statements::ALL), outbox);
    let folders = ["inbox/src/sql", "inbox/src/sql/parked"];
    let mut inbox = folders.map(constants).concat();
    let states = ["session::NO_RIGHT", "session::READ_ONLY"];
    inbox.retain(|name| !states.contains(&name.as_str()));
    inbox.sort();
    let all = [inbox::statements::ALL, inbox::statements::REQUESTS].concat();
    assert_eq!(listed(&all), inbox);
}
