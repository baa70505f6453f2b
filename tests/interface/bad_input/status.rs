//! `relay status`.

use futures_util::future::join_all;
use postroom_testkit::{Login, PgServer, Stack, Tap, command, eventually};
use serde_json::Value;
use sqlx::Executor as _;

async fn status(stack: &Stack) -> Value {
    stack.command(&["status", "--json"]).await.json()
}

async fn publish(stack: &Stack, count: i32, topic: &str) {
    sqlx::query("SELECT outbox.publish($2, '1', key => 'k' || i) FROM generate_series(1, $1) AS i")
        .bind(count)
        .bind(topic)
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn status_tells_who_is_active_what_waits_and_what_is_parked() {
    let stack = Stack::new().await;
    let nothing = status(&stack).await;
    assert_eq!(nothing["active"], Value::Null);
    assert_eq!(nothing["waiting"], 0);
    publish(&stack, 3, "t").await;
    let waiting = status(&stack).await;
    assert_eq!(waiting["waiting"], 3);
    assert!(
        waiting["oldest_waiting_seconds"]
            .as_i64()
            .is_some_and(|s| s < 60)
    );

    let tap = Tap::open(&stack.broker, "tap", "t").await;
    let relay = stack.relay().await;
    tap.distinct(3).await;
    publish(&stack, 5, "unbound").await;
    eventually("status shows what is parked", async || {
        let status = status(&stack).await;
        status["waiting"] == 0 && status["parked"][0]["messages"] == 5
    })
    .await;
    let all = status(&stack).await;
    let name = all["active"]["name"].as_str().unwrap();
    assert!(name.contains("postroom-relay lane 0"), "{all}");
    assert!(name.ends_with(&relay.pid().to_string()), "{all}");
    assert_eq!(all["parked"][0]["reason"], "unroutable");
    assert_eq!(all["blocked_keys"].as_array().unwrap().len(), 5);

    let table = stack.command(&["status"]).await;
    for part in [
        "active   postroom-relay lane 0",
        "waiting  0",
        "unroutable",
        "k1",
    ] {
        assert!(table.succeeded().contains(part), "{part}: {}", table.stdout);
    }
}

#[tokio::test]
async fn messages_behind_an_unfinished_frame_are_counted_once() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    publish(&stack, 7, "t").await;
    tap.distinct(7).await;
    stack.delivered().await;
    assert!(relay.stop().await.success());
    assert_eq!(status(&stack).await["waiting"], 0);
    publish(&stack, 4, "t").await;
    assert_eq!(status(&stack).await["waiting"], 4);
}

/// Their transactions were running when the frame was opened, whose snapshot may not even know of the last one.
#[tokio::test]
async fn stragglers_below_the_watermark_of_an_unfinished_frame_are_counted() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    publish(&stack, 1, "t").await;
    tap.distinct(1).await;
    stack.delivered().await;
    assert!(relay.stop().await.success());
    let mut early = stack.database.connect(Login::Producer).await;
    let mut late = stack.database.connect(Login::Producer).await;
    let straggle = "BEGIN; SELECT outbox.publish('t', '1')";
    early.execute(straggle).await.unwrap();
    publish(&stack, 3, "t").await;
    late.execute(straggle).await.unwrap();
    // As if the frame that sees the three were delivered up to all that was handed out.
    stack
        .database
        .ddl(
            "UPDATE outbox.checkpoint
             SET frame = pg_current_snapshot(), frame_upper = upper, watermark = upper
             FROM (SELECT last_value FROM outbox.message_position OFFSET 0) AS s (upper)",
        )
        .await;
    assert_eq!(status(&stack).await["waiting"], 0);
    early.execute("COMMIT").await.unwrap();
    assert_eq!(status(&stack).await["waiting"], 1);
    late.execute("COMMIT").await.unwrap();
    publish(&stack, 1, "t").await;
    let waiting = status(&stack).await;
    assert_eq!(waiting["waiting"], 3);
    assert!(waiting["oldest_waiting_seconds"].is_i64(), "{waiting}");
    let pool = stack.database.pool(Login::Owner).await;
    assert_eq!(stack.database.undelivered_and_parked(&pool).await, (3, 0));
}

/// Of a session, PostgreSQL shows other users only the name.
#[tokio::test]
async fn status_may_be_asked_by_another_user() {
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    let mut environment = stack.environment();
    for (name, value) in &mut environment {
        if name == "POSTROOM_DATABASE_URL" {
            *value = stack.database.url(Login::Owner);
        }
    }
    let status = command::relay(&["status", "--json"], &environment).await;
    let status = status.json();
    let name = status["active"]["name"].as_str().unwrap();
    assert!(name.contains("postroom-relay lane 0"), "{status}");
    assert_eq!(status["active"]["since"], Value::Null);
    let table = command::relay(&["status"], &environment).await;
    let said = table.succeeded();
    assert!(said.contains("active   postroom-relay lane 0"), "{said}");
    assert!(said.contains("pg_read_all_stats"), "{said}");
}

#[tokio::test]
async fn status_counts_what_a_rebase_publishes_again_and_tells_of_a_foreign_checkpoint() {
    // Of its own: a rebase waits for the transactions of all databases.
    let server = PgServer::start();
    let stack = Stack::on(&server, None).await;
    let tap = Tap::open(&stack.broker, "tap", "t").await;
    let relay = stack.relay().await;
    publish(&stack, 5, "t").await;
    tap.distinct(5).await;
    stack.delivered().await;
    assert!(relay.stop().await.success());
    stack
        .database
        .ddl("UPDATE outbox.checkpoint SET system_identifier = system_identifier + 1")
        .await;
    let foreign = status(&stack).await;
    let problem = foreign["problem"].as_str().unwrap();
    assert!(problem.contains("relay rebase"), "{foreign}");
    let table = stack.command(&["status"]).await;
    assert!(
        table.succeeded().contains("problem  the checkpoint"),
        "{table:?}"
    );
    stack.command(&["rebase"]).await.succeeded();
    let rebased = status(&stack).await;
    assert_eq!(
        (&rebased["problem"], &rebased["waiting"]),
        (&Value::Null, &Value::from(5))
    );
    let _relay = stack.relay().await;
    stack.delivered().await;
    assert_eq!(status(&stack).await["waiting"], 0);
}

#[tokio::test]
async fn a_command_does_not_wait_for_a_lock_for_ever() {
    let stack = Stack::new().await;
    let mut owner = stack.database.connect(Login::Owner).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE outbox.parked, outbox.checkpoint")
        .execute(&mut owner)
        .await
        .unwrap();
    let commands: [&[&str]; 4] = [
        &["status"],
        &["parked", "retry", "1"],
        &["rebase"],
        &["check"],
    ];
    let ended = join_all(commands.map(|command| stack.command(command))).await;
    for ended in &ended[..3] {
        let error = ended.error();
        assert!(error.contains("somebody has locked"), "{error}");
        assert!(error.contains("pg_stat_activity"), "{error}");
    }
    let check = &ended[3].stdout;
    for part in [
        "FAILED  checkpoint ",
        "somebody has locked",
        "ok      exchange",
    ] {
        assert!(check.contains(part), "{part}: {check}");
    }
}
