//! Messages on their whole way, through a database full of hostile objects.

use std::sync::atomic::Ordering;

use inbox::Parked;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use outbox::Headers;
use postroom_testkit::{Login, RelayProcess, Stack, command, eventually};
use sqlx::{AssertSqlSafe, Executor as _};
use uuid::Uuid;

use crate::{
    hostile::Hostile,
    service::{CONSUMERS, Running, pool, publish},
};

/// Ids that were recorded long ago, in the ring and beside it. In the ring for one consumer only: if two consumers
/// would empty a leaf at the same time, one of them skips the leaf.
const OLD_IDS: &str = "
INSERT INTO inbox.processed (consumer, message_id, slot)
VALUES ('billing', gen_random_uuid(), mod(extract(epoch FROM now())::bigint / 86400 - 40, 64));
INSERT INTO inbox.processed_other
SELECT c, sha256('1'), now() - interval '31 days' FROM unnest(ARRAY['billing', 'audit']) AS c";

/// Returns a condition: each consumer has had the effect of each of these jobs.
fn have_had(jobs: &[i64]) -> String {
    let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    let jobs = jobs.join(",");
    format!(
        "NOT EXISTS (SELECT FROM unnest(ARRAY['billing', 'audit']) AS c, unnest('{{{jobs}}}'::bigint[]) AS j
                     WHERE NOT EXISTS (SELECT FROM public.effect AS e WHERE e.consumer = c AND e.n = j))"
    )
}

/// Runs a command of the relay, as its user or as the server's administrator.
async fn run(stack: &Stack, login: Login, arguments: &[&str]) -> command::Ended {
    let mut environment = stack.environment();
    environment.push((
        "POSTROOM_DATABASE_URL".to_owned(),
        stack.database.url(login),
    ));
    command::relay(arguments, &environment).await
}

/// Publishes a job several times without the relay, under an id without a time, as any client may.
async fn publish_past_the_relay(stack: &Stack, n: i64, times: usize) {
    let (_connection, channel) = stack.broker.channel().await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let random = uuid::Builder::from_random_bytes(Uuid::now_v7().into_bytes()).into_uuid();
    let headers = Headers::new();
    let message = amqp::Outgoing {
        message_id: random,
        topic: "jobs",
        key: Some("another"),
        type_name: "jobs",
        content_type: "application/json",
        headers: &headers,
        occurred_at: chrono::Utc::now(),
        source: "somebody",
        user_id: None,
    };
    let encoded = amqp::encode(&message).unwrap();
    let body = format!(r#"{{"n": {n}, "what": "work"}}"#);
    for _ in 0..times {
        let sent = channel.basic_publish(
            "postroom".into(),
            "jobs".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            encoded.properties.clone(),
        );
        sent.await.unwrap().await.unwrap();
    }
}

/// Parks a message that no queue takes, shows it, retries it and discards it.
async fn operate_on_the_outbox(stack: &Stack, hostile: &Hostile<'_>) {
    let mut producer = stack.database.connect(Login::Producer).await;
    for sql in [
        "SELECT outbox.publish('nobody', '1', key => 'key-0')",
        "SELECT outbox.publish('nobody', '2', key => 'key-0')",
        "SELECT outbox.publish('nobody', '3')",
    ] {
        producer.execute(sql).await.unwrap();
    }
    hostile
        .until(
            "what no queue takes is parked",
            "count(*) = 3 FROM outbox.parked",
        )
        .await;
    let listed = run(
        stack,
        Login::Relay,
        &["parked", "list", "--json", "--key", "key-0"],
    )
    .await
    .json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let position = listed[0]["position"].to_string();
    let shown = run(stack, Login::Relay, &["parked", "show", &position]).await;
    assert!(shown.succeeded().contains("nobody"), "{shown:?}");
    let retried = run(stack, Login::Relay, &["parked", "retry", &position]).await;
    assert_eq!(retried.succeeded(), "1 to be tried again at once\n");
    let discard = [
        "parked",
        "discard",
        "--reason",
        "unroutable",
        "--",
        &position,
    ];
    run(stack, Login::Relay, &discard).await.succeeded();
    hostile
        .until(
            "the first of the key is gone",
            "count(*) = 1 FROM outbox.parked",
        )
        .await;
    run(
        stack,
        Login::Relay,
        &["parked", "discard", "--reason", "unroutable"],
    )
    .await
    .succeeded();
    hostile
        .until("nothing is parked", "count(*) = 0 FROM outbox.parked")
        .await;
}

/// Lists and revives a dead delivery of each consumer, and discards a delivery that does not exist.
async fn operate_on_the_inbox(stack: &Stack, hostile: &Hostile<'_>, consumers: &[Running]) {
    let rejected = "count(*) = 2 FROM inbox.parked WHERE state = 'dead'";
    hostile
        .until("both have given up a delivery", rejected)
        .await;
    for (running, (name, _)) in consumers.iter().zip(CONSUMERS) {
        let parked = Parked::new(pool(stack, Login::Consumer), name);
        let listed = parked.list(0, 10).await.unwrap();
        let dead = listed.iter().find(|delivery| delivery.dead).unwrap();
        running.memory.mended.store(true, Ordering::SeqCst);
        assert!(parked.retry(dead.id).await.unwrap());
        assert!(!parked.discard(i64::MAX).await.unwrap());
    }
}

/// Waits until `relay status` reports nothing: a confirmed message is recorded a moment later.
async fn nothing_waits(stack: &Stack) {
    eventually("nothing waits and nothing is parked", async || {
        let status = run(stack, Login::Relay, &["status", "--json"]).await;
        let status = status.json();
        status["waiting"] == 0 && status["parked"] == serde_json::json!([])
    })
    .await;
}

/// Starts an active relay and a standby.
async fn relays(stack: &Stack) -> (RelayProcess, RelayProcess) {
    let first = stack.relay().await;
    let second = stack.start_relay(&[]);
    second.role("standby").await;
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g5_nothing_foreign_runs_and_nothing_is_lost_on_the_whole_way() {
    let stack = Stack::new().await;
    let table = "CREATE TABLE effect (consumer text NOT NULL, n bigint NOT NULL)";
    stack.database.ddl(table).await;
    let hostile = Hostile::make(&stack.database).await;
    hostile.connect().await.execute(OLD_IDS).await.unwrap();

    for login in [Login::Relay, Login::Admin] {
        run(&stack, login, &["check"]).await.succeeded();
    }
    let (first, second) = relays(&stack).await;
    let consumers = CONSUMERS.map(|(name, together)| Running::start(&stack, name, together));
    hostile
        .until(
            "old ids are forgotten",
            "count(*) = 0 FROM (SELECT FROM inbox.processed UNION ALL SELECT FROM inbox.processed_other) AS p",
        )
        .await;
    let mut jobs = publish(&stack).await;
    operate_on_the_inbox(&stack, &hostile, &consumers).await;
    publish_past_the_relay(&stack, 50, 2).await;
    jobs.push(50);
    hostile
        .until("each job has its effects", &have_had(&jobs))
        .await;
    hostile
        .until("nothing is parked", "count(*) = 0 FROM inbox.parked")
        .await;
    operate_on_the_outbox(&stack, &hostile).await;

    first.stop().await;
    second.role("active").await;
    second.stop().await;
    nothing_waits(&stack).await;
    run(&stack, Login::Relay, &["rebase", "--force"])
        .await
        .succeeded();
    let brief = [
        // A rebase publishes discarded messages again.
        ("POSTROOM_PUBLISH_DROP_UNROUTABLE", "nobody"),
        ("POSTROOM_RETENTION_KEEP", "1s"),
        ("POSTROOM_RETENTION_SEGMENT_AGE", "1s"),
        ("POSTROOM_RETENTION_CHECK_INTERVAL", "100ms"),
    ];
    let relay = stack.relay_with(&brief).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    // A leaf's last message counts as settled once a later message does.
    for n in 100.. {
        let one_more = format!(r#"SELECT outbox.publish('jobs', '{{"n": {n}, "what": "work"}}')"#);
        producer.execute(AssertSqlSafe(one_more)).await.unwrap();
        jobs.push(n);
        hostile
            .until("one more job has its effects", &have_had(&[n]))
            .await;
        if relay.metric("postroom_relay_expired_segments_total") >= 1.0 {
            break;
        }
    }
    hostile
        .until("each job has its effects", &have_had(&jobs))
        .await;
    nothing_waits(&stack).await;
    relay.stop().await;
    for consumer in consumers {
        consumer.stop().await;
    }
    let twice = "NOT EXISTS (SELECT FROM public.effect GROUP BY consumer, n HAVING count(*) > 1)";
    hostile.until("no job had its effect twice", twice).await;
    hostile.assert_none_ran().await;
}
