//! Visible is not yet durable: a frame waits for the write-ahead log.

use postroom_testkit::{Login, PgServer, Stack, Tap};
use sqlx::{Connection as _, PgConnection};

/// Publishes with `synchronous_commit = off`; returns a place in the log that the commit lies
/// behind.
async fn publish_asynchronously(producer: &mut PgConnection) -> i64 {
    let mut tx = producer.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL synchronous_commit = off")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("SELECT outbox.publish('t', '1', key => 'k')")
        .execute(&mut *tx)
        .await
        .unwrap();
    let written = sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    written
}

async fn flushed(admin: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
        .fetch_one(admin)
        .await
        .unwrap()
}

#[tokio::test]
async fn g2_a_message_that_a_queue_sees_is_flushed_although_its_commit_did_not_wait() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let mut owner = stack.database.connect(Login::Owner).await;
    // The server's own writer flushes every 200 ms; a message is through in less.
    for count in 1..=100 {
        let written = publish_asynchronously(&mut producer).await;
        tap.distinct(count).await;
        let flushed = flushed(&mut owner).await;
        assert!(
            flushed > written,
            "message {count} was published before it was durable"
        );
    }
    stack.delivered().await;
    let gates = relay.metric("postroom_relay_gate_commits_total");
    assert!(gates > 0.0, "no frame waited for a commit");
}

#[tokio::test]
async fn trap_waiting_for_the_flush_alone_never_ends_after_a_switch_of_the_log() {
    // On a server of its own: whatever anybody writes would end the wait.
    let postgres = PgServer::start_with("autovacuum = off\nwal_writer_delay = 10s");
    let stack = Stack::on(&postgres, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let mut admin = stack.database.connect(Login::Admin).await;
    let gates = || relay.metric("postroom_relay_gate_commits_total");
    for count in 1..=5 {
        let before = gates();
        // The relay looks after the switch, not before.
        relay.signal("STOP");
        publish_asynchronously(&mut producer).await;
        sqlx::query("SELECT pg_switch_wal()")
            .execute(&mut admin)
            .await
            .unwrap();
        relay.signal("CONT");
        tap.distinct(count).await;
        // The log's own writer may end the wait too, if it wakes: that is the trap.
        assert!(
            gates() > before,
            "message {count} waited for the log's writer, not for a commit of the relay's own"
        );
        stack.delivered().await;
    }
}
