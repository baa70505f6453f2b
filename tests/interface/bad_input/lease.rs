//! The lock of the lease in hands that are no relay's.

use postroom_testkit::{Login, Stack, eventually};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::assert_says;

const LOCK: &str = "SELECT pg_advisory_lock(1886352244, 0)";
const SHARED: &str = "SELECT pg_advisory_lock_shared(1886352244, 0)";
const PREPARE: &str =
    "BEGIN; SELECT pg_advisory_xact_lock(1886352244, 0); PREPARE TRANSACTION 'lease''s'";

/// Takes the lock; returns the session.
async fn take(stack: &Stack, login: Login, name: &str, lock: &'static str) -> PgConnection {
    let mut session = stack.database.connect(login).await;
    let named = format!("SET application_name = '{name}'");
    session.execute(AssertSqlSafe(named)).await.unwrap();
    session.execute(sqlx::raw_sql(lock)).await.unwrap();
    session
}

/// Asserts that a relay, `relay status` and `relay check` say that no relay can publish, and why; then does what they
/// advise, and waits until the relay is active.
async fn is_named(stack: &Stack, problem: &[&str]) {
    let lease = [("POSTROOM_LEASE_TIMEOUT", "1s")];
    let relay = stack.start_relay(&lease);
    eventually("the relay is not ready", async || {
        relay.health().is_some_and(|(ready, health)| {
            !ready && health["role"] == "standby" && health["problem"].is_string()
        })
    })
    .await;
    let (_, health) = relay.health().unwrap();
    assert_says(health["problem"].as_str().unwrap(), problem);
    let status = stack.command(&["status", "--json"]).await.json();
    assert!(status["active"].is_null(), "{status}");
    let said = status["problem"].as_str().unwrap().to_owned();
    assert_says(&said, problem);
    let check = stack.command(&["check"]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    let line = check
        .stdout
        .lines()
        .find(|line| line.contains("lease"))
        .unwrap();
    assert!(line.starts_with("FAILED"), "{line}");
    assert_says(line, problem);

    let mut admin = stack.database.connect(Login::Admin).await;
    let advice = ["SELECT pg_terminate_backend(", "ROLLBACK PREPARED "];
    let begins = advice.iter().find_map(|advice| said.find(advice)).unwrap();
    let advice = said[begins..].split(", and").next().unwrap();
    admin
        .execute(AssertSqlSafe(advice.to_owned()))
        .await
        .unwrap();
    eventually("the relay is active", async || {
        relay
            .health()
            .is_some_and(|(ready, health)| ready && health["role"] == "active")
    })
    .await;
    assert!(relay.stop().await.success());
}

/// The lock is free to every login of the database. The relay stood by, and was ready.
#[tokio::test]
async fn g7_a_session_that_is_no_relay_is_named_while_it_holds_the_lease() {
    let stack = Stack::new().await;
    let without = [
        "has not the rights of a relay",
        "postroom_test_producer",
        "REVOKE CONNECT",
    ];
    for name in [
        "psql",
        "postroom-relay lane 0 host:1",
        "postroom-relay lane 0 host:1 fenced",
    ] {
        let session = take(&stack, Login::Producer, name, LOCK).await;
        is_named(&stack, &[&without[..], &[name]].concat()).await;
        drop(session);
    }
    let sharing = take(&stack, Login::Producer, "psql", SHARED).await;
    is_named(&stack, &without).await;
    drop(sharing);
    for login in [Login::Relay, Login::Admin] {
        let session = take(&stack, login, "psql", LOCK).await;
        is_named(&stack, &["\"psql\"", "is no relay"]).await;
        drop(session);
    }
    let session = take(&stack, Login::Producer, "psql", PREPARE).await;
    session.close().await.unwrap();
    is_named(
        &stack,
        &["prepared transaction \"lease's\"", "postroom_test_producer"],
    )
    .await;
}

#[tokio::test]
async fn g7_a_standby_of_a_relay_is_ready() {
    let stack = Stack::new().await;
    let active = stack.relay().await;
    let standby = stack.start_relay(&[("POSTROOM_LEASE_TIMEOUT", "1s")]);
    standby.role("standby").await;
    standby.ready().await;
    assert!(!standby.logged().contains("no relay can publish"));
    assert!(active.stop().await.success());
    standby.role("active").await;
}
