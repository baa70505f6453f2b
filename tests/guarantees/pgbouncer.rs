//! Producers behind a pooler in transaction mode that knows no prepared statements, and relays
//! that must not be behind one.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use outbox::{Message, MessageId, Outbox, PublishError};
use postroom_testkit::{Login, PgBouncer, Stack, Tap, command};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgPoolOptions};
use support::{judged, load::Load};
use tokio::task::JoinSet;

/// Startup parameter that sqlx sends and PgBouncer does not know.
const SQLX: &str = "extra_float_digits";

const OUTBOX: Outbox = Outbox::new().without_prepared_statements();

const KEYS: usize = 10;

fn pooler(stack: &Stack, login: Login) -> (PgBouncer, String) {
    let direct = stack.database.url(login);
    let pooler = PgBouncer::start(&direct, SQLX);
    let url = pooler.url(&direct);
    (pooler, url)
}

fn message(id: MessageId, key: &str) -> Result<Message, PublishError> {
    let message = Message::bytes("load", "text/plain", "pooled")?;
    Ok(message.key(key)?.id(id))
}

/// Takes a key's next two places: the ids of two messages to publish for them.
async fn places(connection: &mut PgConnection, key: &str) -> Result<[MessageId; 2], sqlx::Error> {
    let last: i64 =
        sqlx::query_scalar("UPDATE account SET place = place + 2 WHERE key = $1 RETURNING place")
            .bind(key)
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
    let ids = [MessageId::new(), MessageId::new()];
    for (id, place) in ids.iter().zip([last - 1, last]) {
        sqlx::query("INSERT INTO ledger (id, key, place) VALUES ($1, $2, $3)")
            .bind(id.as_uuid())
            .bind(key)
            .bind(place)
            .persistent(false)
            .execute(&mut *connection)
            .await?;
    }
    Ok(ids)
}

/// Publishes with a transaction, in one of the library's ways.
async fn transaction(pool: &PgPool, key: &str, way: usize) -> Result<(), PublishError> {
    let mut tx = outbox::transaction::begin(pool).await?;
    let ids = places(&mut tx, key).await?;
    let [first, second] = ids;
    match way % 4 {
        0 => {
            OUTBOX.publish(&mut tx, message(first, key)?).await?;
            let locked = message(second, key)?.serialize_key();
            OUTBOX.publish(&mut tx, locked).await?;
        }
        1 => {
            let both = ids.into_iter().map(|id| message(id, key).unwrap());
            OUTBOX.publish_all(&mut tx, both).await?;
        }
        2 => {
            for id in ids {
                let message = message(id, key)?;
                OUTBOX
                    .publish_without_transaction_check(&mut tx, message)
                    .await?;
            }
        }
        _ => {
            let both = ids
                .into_iter()
                .map(|id| message(id, key).unwrap().serialize_key());
            OUTBOX
                .publish_all_without_transaction_check(&mut tx, both)
                .await?;
        }
    }
    if way.is_multiple_of(7) {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_g4_producers_behind_a_transaction_pooler() {
    let stack = Stack::new().await;
    let load = Load {
        keys: KEYS,
        ..Load::new(0)
    };
    load.prepare(&stack.database).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let (_pooler, url) = pooler(&stack, Login::Producer);
    let pool = PgPoolOptions::new()
        .max_connections(40)
        .connect(&url)
        .await
        .unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..24 {
        let pool = pool.clone();
        writers.spawn(async move {
            for round in 0..40 {
                let key = format!("key-{}", (writer * 7 + round) % KEYS + 1);
                transaction(&pool, &key, writer + round).await.unwrap();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    judged(&stack.database, &tap).await.assert_clean();
}

/// The tests' pooler is as hard as it is meant to be: transactions of one client move between
/// servers, and the default fails there.
#[tokio::test]
async fn prepared_statements_fail_behind_the_pooler() {
    let stack = Stack::new().await;
    let (_pooler, url) = pooler(&stack, Login::Producer);
    // Other clients, so that the pooler makes several connections.
    let options = PgPoolOptions::new().max_connections(6).min_connections(6);
    let pool = options.connect(&url).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(outbox::transaction::begin(&pool).await.unwrap());
    }
    // Not by dropping them: their servers would be free some time later.
    for tx in open {
        tx.rollback().await.unwrap();
    }
    let mut one = PgConnection::connect(&url).await.unwrap();
    let mut sessions = std::collections::HashSet::new();
    let mut failed = false;
    for _ in 0..6 {
        #[allow(clippy::disallowed_methods)] // Of a connection, not of a pool.
        let mut tx = one.begin().await.unwrap();
        let pid = sqlx::raw_sql("SELECT pg_backend_pid()")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        sessions.insert(sqlx::Row::get::<i32, _>(&pid, 0));
        let sent = message(MessageId::new(), "k").unwrap();
        failed |= Outbox::new().publish(&mut tx, sent).await.is_err();
        tx.rollback().await.unwrap();
    }
    assert!(sessions.len() > 1, "transactions of a client never moved");
    assert!(failed, "the pooler knows prepared statements");
}

/// A statement without a name, outside of a transaction, could be parsed by one server session and run by another,
/// which would then run another client's statement.
#[tokio::test]
async fn without_prepared_statements_a_transaction_must_be_open_whoever_began_it() {
    let stack = Stack::new().await;
    let (_pooler, url) = pooler(&stack, Login::Producer);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let sent = || message(MessageId::new(), "k").unwrap();
    let refused = OUTBOX
        .publish_without_transaction_check(&mut connection, sent())
        .await;
    assert!(
        matches!(refused, Err(PublishError::NoTransaction)),
        "{refused:?}"
    );
    let refused = OUTBOX
        .publish_all_without_transaction_check(&mut connection, [sent()])
        .await;
    assert!(
        matches!(refused, Err(PublishError::NoTransaction)),
        "{refused:?}"
    );
    sqlx::raw_sql("BEGIN")
        .execute(&mut connection)
        .await
        .unwrap();
    OUTBOX
        .publish_without_transaction_check(&mut connection, sent())
        .await
        .unwrap();
    sqlx::raw_sql("COMMIT")
        .execute(&mut connection)
        .await
        .unwrap();
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox.message")
        .fetch_one(&mut stack.database.connect(Login::Owner).await)
        .await
        .unwrap();
    assert_eq!(written, 1);
}

/// Runs a command of the relay behind a pooler that ignores these start-up parameters; returns
/// what it says, which names the pooler, with its exit code.
async fn behind(stack: &Stack, arguments: &[&str], ignored: &str) -> command::Ended {
    let direct = stack.database.url(Login::Relay);
    let pooler = PgBouncer::start(&direct, ignored);
    let mut environment = stack.environment();
    environment.push(("POSTROOM_DATABASE_URL".to_owned(), pooler.url(&direct)));
    command::relay(arguments, &environment).await
}

#[tokio::test]
async fn a_relay_behind_a_pooler_is_refused() {
    let stack = Stack::new().await;
    // The first two refuse a parameter, the last swallows the settings without a word.
    for ignored in ["", SQLX, "extra_float_digits, options"] {
        let ended = behind(&stack, &["run"], ignored).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let error = ended.error();
        assert!(error.contains("leads to a connection pooler"), "{error}");
        assert!(
            error.contains("point the relay at PostgreSQL itself"),
            "{error}"
        );
        let ended = behind(&stack, &["check"], ignored).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let finding = ended.stdout.lines().find(|line| line.starts_with("FAILED"));
        let finding = finding.expect("a finding");
        assert!(
            finding.contains("leads to a connection pooler"),
            "{finding}"
        );
    }
}

/// The other commands need no lease, but sessions of their own as well.
#[tokio::test]
async fn commands_of_the_relay_behind_a_pooler_are_refused() {
    let stack = Stack::new().await;
    for ignored in [SQLX, "extra_float_digits, options"] {
        for arguments in [&["status"][..], &["parked", "list"], &["rebase"]] {
            let ended = behind(&stack, arguments, ignored).await;
            assert_eq!(ended.code, Some(1), "{arguments:?} {ended:?}");
            let error = ended.error();
            assert!(
                error.contains("leads to a connection pooler"),
                "{arguments:?} {error}"
            );
        }
    }
}
