//! Partitions: several processes of a consumer at once, with the order of keys.

use std::collections::BTreeMap;

use inbox::{ConsumerBuilder, Context, DatabaseError, HandlerError, RunError};
use lapin::types::{AMQPValue, FieldTable};
use postroom_testkit::{PgBouncer, eventually};
use uuid::Uuid;

use crate::world::{Database, Log, Placed, Running, World, insert_effect, properties};

/// Number of partitions that each session holds, of all members.
const SHARES: &str = "
SELECT count(l.objid) FILTER (WHERE l.objid::bigint >> 24 = 2) FROM pg_locks AS l
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY l.pid, l.classid HAVING bool_or(l.objid::bigint >> 24 = 1) ORDER BY 1";

/// Sessions that hold the locks of members.
const SESSIONS: &str = "
SELECT pid::text FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'postroom-inbox partitions'";

/// Ends the sessions that hold the locks of members.
const END_SESSIONS: &str = "
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'postroom-inbox partitions'";

/// Returns a consumer of four partitions that writes its name into the log for each message.
fn member(world: &World, name: &'static str, log: &Log) -> ConsumerBuilder {
    let log = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let log = log.clone();
        async move {
            insert_effect(&mut ctx, &event).await?;
            log.add(name);
            Ok::<_, HandlerError>(())
        }
    };
    world
        .consumer()
        .workers(4)
        .partitions(4)
        .on::<Placed, _, _>(handler)
}

/// Waits until the members hold these numbers of partitions, in rising order, and each of the four queues has a reader.
async fn shared(world: &World, expected: &[i64]) {
    eventually("the partitions are shared", async || {
        let shares: Vec<i64> = sqlx::query_scalar(SHARES)
            .fetch_all(&world.database.admin)
            .await
            .unwrap();
        shares == expected && are_read(world).await
    })
    .await;
}

/// Returns `true` if each of the four queues has a reader.
async fn are_read(world: &World) -> bool {
    for number in 0..4 {
        let queue = world.broker.queue(&format!("billing.4.{number}")).await;
        if !matches!(queue, Some((_, 1))) {
            return false;
        }
    }
    true
}

/// Publishes messages of several customers; returns their number.
async fn publish(world: &World, customers: i64, from: i64, messages: i64) -> i64 {
    for n in from..from + messages {
        for customer in 0..customers {
            let event = Placed::new(&format!("c{customer}"), n);
            world.broker.publish(&event).await;
        }
    }
    customers * messages
}

/// Waits for a number of effects, and checks that each customer's came once and in order.
async fn handled_in_order(world: &World, effects: i64) {
    eventually("all are handled", async || {
        world.database.count("SELECT count(*) FROM effect").await >= effects
    })
    .await;
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT customer, n FROM effect ORDER BY seq")
        .fetch_all(&world.database.admin)
        .await
        .unwrap();
    assert_eq!(rows.len() as i64, effects);
    let mut by_customer = BTreeMap::<_, Vec<i64>>::new();
    for (customer, n) in rows {
        by_customer.entry(customer).or_default().push(n);
    }
    for (customer, order) in by_customer {
        assert!(order.is_sorted_by(|a, b| a < b), "{customer}: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_four_processes_handle_messages_at_once_and_each_key_in_order() {
    let world = World::new().await;
    let log = Log::default();
    let names = ["a", "b", "c", "d"];
    let members = names.map(|name| Running::spawn(member(&world, name, &log)));
    shared(&world, &[1, 1, 1, 1]).await;
    let effects = publish(&world, 24, 0, 20).await;
    handled_in_order(&world, effects).await;
    for name in names {
        assert!(log.count(name) > 0, "{name} has handled nothing");
    }
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_the_partitions_evenly_when_one_starts_stops_or_dies() {
    let world = World::new().await;
    let log = Log::default();
    let start = |name| Running::spawn(member(&world, name, &log));
    let first = start("a");
    shared(&world, &[4]).await;
    let second = start("b");
    shared(&world, &[2, 2]).await;
    let (third, fourth) = (start("c"), start("d"));
    shared(&world, &[1, 1, 1, 1]).await;
    let mut effects = publish(&world, 12, 0, 5).await;
    third.stop().await;
    shared(&world, &[1, 1, 2]).await;
    effects += publish(&world, 12, 5, 5).await;
    // The leader, probably.
    first.kill().await;
    shared(&world, &[2, 2]).await;
    effects += publish(&world, 12, 10, 5).await;
    handled_in_order(&world, effects).await;
    second.stop().await;
    fourth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_loses_its_locks_stops_to_read_and_takes_locks_again() {
    let world = World::new().await;
    let log = Log::default();
    let members = ["a", "b"].map(|name| Running::spawn(member(&world, name, &log)));
    shared(&world, &[2, 2]).await;
    let mut effects = 0;
    for round in 0..3 {
        let before = world.database.texts(SESSIONS).await;
        effects += publish(&world, 12, round * 5, 5).await;
        world.database.execute(END_SESSIONS).await;
        eventually("other sessions hold the locks", async || {
            let now = world.database.texts(SESSIONS).await;
            now.len() == 2 && now.iter().all(|session| !before.contains(session))
        })
        .await;
        shared(&world, &[2, 2]).await;
    }
    handled_in_order(&world, effects).await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_slot_of_ours_go_to_the_first_partition_in_order() {
    let world = World::new().await;
    let log = Log::default();
    let running = Running::spawn(member(&world, "a", &log));
    shared(&world, &[4]).await;
    running.stop().await;
    let headers = |slot: Option<AMQPValue>| {
        let mut headers = FieldTable::default();
        headers.insert(
            "cloudEvents_partitionkey".into(),
            AMQPValue::LongString("foreign".into()),
        );
        if let Some(slot) = slot {
            headers.insert("postroom-slot".into(), slot);
        }
        headers
    };
    let text = |text: &str| Some(AMQPValue::LongString(text.into()));
    let slots = [
        None,
        text("64"),
        text("-1"),
        text(""),
        Some(AMQPValue::LongInt(5)),
    ];
    for (n, slot) in (0..).zip(slots) {
        let event = Placed::new("foreign", n);
        let properties = properties(Uuid::now_v7(), None, "orders.placed");
        let properties = properties.with_headers(headers(slot));
        let body = serde_json::to_vec(&event).unwrap();
        world.broker.publish_raw(properties, &body).await;
    }
    assert_eq!(world.broker.queue("billing.4.0").await, Some((5, 0)));
    let running = Running::spawn(member(&world, "a", &log));
    handled_in_order(&world, 5).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_key_are_spread_by_their_ids() {
    let world = World::new().await;
    let log = Log::default();
    let running = Running::spawn(member(&world, "a", &log));
    shared(&world, &[4]).await;
    running.stop().await;
    for n in 0..40 {
        let body = serde_json::to_vec(&Placed::new("nobody", n)).unwrap();
        let properties = properties(Uuid::now_v7(), None, "orders.placed");
        world.broker.publish_raw(properties, &body).await;
    }
    for number in 0..4 {
        let (ready, _) = world
            .broker
            .queue(&format!("billing.4.{number}"))
            .await
            .unwrap();
        assert!((1..40).contains(&ready), "{number}: {ready}");
    }
    let running = Running::spawn(member(&world, "a", &log));
    eventually("all are handled", async || log.count("a") == 40).await;
    running.stop().await;
}

/// All processes together run no more handlers than their workers, and so does each with several partitions.
#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_workers_holds_for_all_partitions_of_a_process() {
    let world = World::new().await;
    let (log, running_now) = (Log::default(), Log::default());
    let handler = {
        let (log, running_now) = (log.clone(), running_now.clone());
        move |ctx: Context, _: Placed| {
            let (log, running_now) = (log.clone(), running_now.clone());
            async move {
                let _ctx = ctx;
                running_now.add("begin");
                let begun = running_now.count("begin") - running_now.count("end");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                running_now.add("end");
                log.add(format!("{begun}"));
                Ok::<_, HandlerError>(())
            }
        }
    };
    let builder = world.consumer().workers(2).partitions(4);
    let running = Running::spawn(builder.on::<Placed, _, _>(handler));
    shared(&world, &[4]).await;
    let messages = publish(&world, 24, 0, 2).await as usize;
    eventually("all are handled", async || log.lines().len() == messages).await;
    assert_eq!(log.count("1") + log.count("2"), messages, "{log:?}");
    assert!(log.count("2") > 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_refused() {
    let world = World::new().await;
    let log = Log::default();
    let direct = world.database.url();
    // The second drops the parameter that the session needs, and says nothing.
    for ignored in ["extra_float_digits", "extra_float_digits, options"] {
        let pooler = PgBouncer::start(direct.as_str(), ignored);
        let url = pooler.url(direct.as_str()).parse().unwrap();
        let builder = member(&world, "a", &log)
            .database(Database::pool_at(&url, 12))
            .prepared_statements(false);
        let refused = Running::spawn(builder).result().await.unwrap_err();
        let is_pooler = matches!(
            refused,
            RunError::Database {
                source: DatabaseError::Pooler,
                ..
            }
        );
        assert!(is_pooler, "{refused:?}");
    }
}
