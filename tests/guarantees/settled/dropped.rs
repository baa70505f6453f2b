//! Each message that the relay drops is recorded, with the checkpoint that passes it; no other message is.

use std::collections::HashSet;

use postroom_testkit::{Login, Stack, Tap, VirtualHost, eventually};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::world::Service;

#[tokio::test]
async fn g3_expired_and_unroutable_messages_are_recorded_and_published_ones_are_not() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let _tap = Tap::open(&broker, "tap", "seen").await;
    for arguments in [
        "'seen', '1'",
        "'seen', '1', expires_at => now() + interval '1 hour'",
        "'late', '1', expires_at => now() - interval '1 second'",
        "'late', '1', key => 'k', expires_at => now()",
        "'audit.a', '1'",
        "'audit.b', '1', key => 'k'",
    ] {
        orders.publish_sql(arguments).await;
    }
    let _relay = orders.relay().await;
    orders.stack.delivered().await;
    let expected = [
        "audit.a: unroutable",
        "audit.b: unroutable",
        "late: expired",
        "late: expired",
    ];
    assert_eq!(orders.dropped().await, expected);
    let same = "SELECT count(*) FROM outbox.dropped JOIN outbox.message USING (lane, position, message_id, topic)
                WHERE dropped.key IS NOT DISTINCT FROM message.key";
    assert_eq!(orders.count(same).await, 4);
}

#[tokio::test]
async fn g3_a_message_that_an_operator_discards_is_recorded_once_the_relay_has_dropped_it() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let relay = orders.relay().await;
    orders.publish_sql("'nowhere', '1', key => 'k'").await;
    orders.publish_sql("'nowhere', '2', key => 'k'").await;
    orders
        .publish_sql("'soon', '3', deliver_after => now() + interval '1 hour'")
        .await;
    eventually("all are parked", async || {
        orders.count("SELECT count(*) FROM outbox.parked").await == 3
    })
    .await;
    assert_eq!(orders.dropped().await, [""; 0]);
    // A mark alone is no drop: the relay that has the message in its hands may still publish it.
    relay.kill().await;
    let discard = |reason| ["parked", "discard", "--reason", reason];
    let first = orders
        .count("SELECT min(position) FROM outbox.parked")
        .await;
    let first = first.to_string();
    orders
        .stack
        .command(&["parked", "discard", &first])
        .await
        .succeeded();
    orders
        .stack
        .command(&discard("scheduled"))
        .await
        .succeeded();
    assert_eq!(orders.dropped().await, [""; 0]);
    let _relay = orders.relay().await;
    eventually("the discarded ones are dropped", async || {
        orders.count("SELECT count(*) FROM outbox.parked").await == 1
    })
    .await;
    assert_eq!(
        orders.dropped().await,
        ["nowhere: discarded", "soon: discarded"]
    );
    let tap = Tap::open(&broker, "tap", "#").await;
    tap.distinct(1).await;
    orders.stack.delivered().await;
    assert_eq!(tap.seen()[0].body, b"2");
    assert_eq!(orders.dropped().await.len(), 2);
}

/// Relays die while they drop, park and publish, and a queue is bound to the topic of dropped messages meanwhile.
#[tokio::test]
async fn g3_relays_are_killed_and_each_message_is_published_or_recorded_as_dropped() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let tap = Tap::open(&broker, "tap", "seen").await;
    let mut writer = orders.stack.database.connect(Login::Producer).await;
    let mut audit = None;
    for round in 0..8 {
        let relay = orders.stack.start_relay(&[
            ("POSTROOM_PUBLISH_DROP_UNROUTABLE", "audit.#"),
            ("POSTROOM_LEASE_TIMEOUT", "2s"),
        ]);
        let sql = "SELECT outbox.publish(
                       (ARRAY['seen', 'audit.a', 'late'])[1 + n % 3], to_jsonb(n), key => (n % 7)::text,
                       expires_at => CASE n % 3 WHEN 2 THEN now() END)
                   FROM generate_series(1, 300) AS n";
        writer.execute(sql).await.unwrap();
        relay.ready().await;
        if round == 4 {
            audit = Some(Tap::open(&broker, "audit", "audit.#").await);
        }
        let many = 40 * (round + 1);
        let seen = format!("SELECT count(*) > {many} FROM outbox.dropped");
        eventually("some are dropped", async || {
            let query = sqlx::query_scalar::<_, bool>(AssertSqlSafe(seen.clone()));
            query.fetch_one(&orders.pool).await.unwrap()
        })
        .await;
        relay.kill().await;
    }
    let _relay = orders.relay().await;
    orders.stack.delivered().await;
    tap.distinct(8 * 100).await;
    let audit = audit.unwrap();
    let dropped: Vec<(String, String)> =
        sqlx::query_as("SELECT message_id::text, reason FROM outbox.dropped")
            .fetch_all(&orders.pool)
            .await
            .unwrap();
    let of = |reason: &str| -> HashSet<String> {
        let rows = dropped.iter().filter(|(_, other)| other == reason);
        rows.map(|(id, _)| id.clone()).collect()
    };
    let all: Vec<(String, String)> =
        sqlx::query_as("SELECT message_id::text, topic::text FROM outbox.message")
            .fetch_all(&orders.pool)
            .await
            .unwrap();
    let with = |topic: &str| -> HashSet<String> {
        let rows = all.iter().filter(|(_, other)| other == topic);
        rows.map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(of("expired"), with("late"));
    let unroutable = of("unroutable");
    let expected = with("audit.a").len() - unroutable.len();
    let arrived: HashSet<String> = audit
        .distinct(expected)
        .await
        .into_iter()
        .map(|seen| seen.id)
        .collect();
    assert!(!arrived.is_empty() && !unroutable.is_empty());
    let both: Vec<&String> = arrived.intersection(&unroutable).collect();
    assert_eq!(both, [""; 0], "published, and recorded as dropped");
    let either: HashSet<String> = arrived.union(&unroutable).cloned().collect();
    assert_eq!(either, with("audit.a"));
    assert!(
        tap.ids()
            .is_disjoint(&dropped.into_iter().map(|(id, _)| id).collect())
    );
}

#[tokio::test]
async fn g3_a_rebase_forgets_the_records_of_messages_that_may_be_published_again() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    // An open transaction keeps the checkpoint's floor down, and the rebase walks all rows.
    let mut open = orders.stack.database.connect(Login::Owner).await;
    open.execute("BEGIN; SELECT pg_current_xact_id()")
        .await
        .unwrap();
    let relay = orders.relay().await;
    for _ in 0..5 {
        orders.publish_sql("'audit.a', '1'").await;
    }
    orders.stack.delivered().await;
    assert_eq!(orders.dropped().await, ["audit.a: unroutable"; 5]);
    relay.stop().await;
    open.execute("COMMIT").await.unwrap();
    let rebase = ["rebase", "--force"];
    orders.stack.command(&rebase).await.succeeded();
    assert_eq!(orders.dropped().await, [""; 0]);
    let tap = Tap::open(&broker, "tap", "audit.#").await;
    let _relay = orders.relay().await;
    tap.distinct(5).await;
    eventually("the walk is over", async || {
        let latest = "SELECT count(*) FROM (SELECT anchor FROM outbox.checkpoint ORDER BY id DESC LIMIT 1) AS c
                      WHERE anchor IS NULL";
        orders.count(latest).await == 1
    })
    .await;
    assert_eq!(orders.dropped().await, [""; 0]);
}

#[tokio::test]
async fn records_of_drops_go_with_the_segment_of_their_messages() {
    let stack = Stack::new().await;
    let pool = stack.database.pool(Login::Admin).await;
    let relay = stack
        .relay_with(&[
            ("POSTROOM_RETENTION_SEGMENT_ROWS", "50"),
            ("POSTROOM_RETENTION_KEEP", "0s"),
            ("POSTROOM_RETENTION_CHECK_INTERVAL", "50ms"),
        ])
        .await;
    let _tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut is_recorded = false;
    eventually("three segments are emptied", async || {
        let sql =
            "SELECT outbox.publish('t', '1', expires_at => now()) FROM generate_series(1, 60)";
        pool.execute(sql).await.unwrap();
        stack.delivered().await;
        let query = sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM outbox.dropped)");
        is_recorded |= query.fetch_one(&pool).await.unwrap();
        relay.metric("postroom_relay_expired_segments_total") >= 3.0
    })
    .await;
    assert!(is_recorded);
    let old = "SELECT count(*) FROM outbox.dropped AS d
               WHERE NOT EXISTS (SELECT FROM outbox.message AS m WHERE m.position = d.position)";
    eventually("no record outlasts its message", async || {
        let left: i64 = sqlx::query_scalar(old).fetch_one(&pool).await.unwrap();
        left == 0
    })
    .await;
}
