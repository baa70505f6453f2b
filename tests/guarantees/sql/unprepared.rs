//! `without_prepared_statements` leaves no prepared statement at the server.

use std::{fs, path::Path};

use outbox::{Message, Outbox};
use postroom_testkit::{Database, Login};
use sqlx::{PgConnection, Row as _};

/// Number of statements that the server keeps for this session.
async fn count_prepared(connection: &mut PgConnection) -> i64 {
    let count = sqlx::raw_sql("SELECT count(*) FROM pg_prepared_statements");
    count.fetch_one(connection).await.unwrap().get(0)
}

async fn publish_in_all_ways(outbox: Outbox, connection: &mut PgConnection) {
    let message = || {
        let message = Message::bytes("t", "text/plain", "body").unwrap();
        message.key("k").unwrap().serialize_key()
    };
    outbox::schema::check(connection).await.unwrap();
    let mut tx = sqlx::Connection::begin(connection).await.unwrap();
    outbox.publish(&mut tx, message()).await.unwrap();
    outbox.publish_all(&mut tx, [message()]).await.unwrap();
    let publishing = outbox.publish_without_transaction_check(&mut tx, message());
    publishing.await.unwrap();
    let publishing = outbox.publish_all_without_transaction_check(&mut tx, [message()]);
    publishing.await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_outbox_without_prepared_statements_leaves_none_at_the_server() {
    let database = Database::new().await;
    let mut producer = database.connect(Login::Producer).await;
    let outbox = Outbox::new().without_prepared_statements();
    publish_in_all_ways(outbox, &mut producer).await;
    assert_eq!(count_prepared(&mut producer).await, 0);
    publish_in_all_ways(Outbox::new(), &mut producer).await;
    // The lock of keys, the insert of one row and the insert of several; the check of the schema is never prepared.
    let all = 3;
    assert_eq!(
        count_prepared(&mut producer).await,
        all,
        "by default each is kept"
    );
}

/// Lines of a source that make a statement by sqlx's own functions, which prepare it by default.
fn makes_statements(source: &str) -> Vec<&str> {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let makes = |line: &&str| line.contains("sqlx::query") || line.contains(".prepare(");
    code.filter(makes).collect()
}

fn assert_makes_no_statement(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_makes_no_statement(&path);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let made = makes_statements(&source);
        if path.ends_with("outbox/statement/src/lib.rs") {
            assert_eq!(
                made.len(),
                3,
                "lines of outbox/statement that make a statement"
            );
        } else {
            let path = path.display();
            assert!(
                made.is_empty(),
                "{path} bypasses postroom-statement: {made:?}"
            );
        }
    }
}

#[test]
fn every_statement_of_the_libraries_is_made_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_makes_no_statement(&root.join("outbox/src"));
    assert_makes_no_statement(&root.join("outbox/statement/src"));
    assert_makes_no_statement(&root.join("inbox/src"));
}
