//! Messages that the AMQP client could not read: they stop themselves alone.

use inbox::{Context, HandlerError};
use lapin::{options::QueueBindOptions, types::FieldTable};
use postroom_testkit::eventually;
use support::raw::{
    APP_ID, HEADERS, MESSAGE_ID, RawPublisher, TYPE, long_value, nested, short_string, table,
};
use uuid::Uuid;

use crate::world::{Placed, Running, World, insert_effect, uuid_v4};

const DEAD: &str = "
SELECT concat_ws('|', reason, state, holds_key, coalesce(message_id, '-'), topic, coalesce(key, '-'), type,
                 convert_from(payload, 'UTF8'), error)
FROM inbox.parked ORDER BY id";

/// Everything but the error and the body.
pub(crate) const DEAD_SHORT: &str = "
SELECT concat_ws('|', reason, state, coalesce(message_id, '-'), coalesce(key, '-'), coalesce(type, '-'))
FROM inbox.parked ORDER BY id";

pub(crate) async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

pub(crate) async fn start(world: &World) -> Running {
    let builder = world.consumer().on::<Placed, _, _>(keep);
    Running::start(&world.broker, "billing", builder).await
}

pub(crate) const ROUTE: (&str, &[u8]) = ("postroom", b"orders.placed");

/// A header of 10 kB overflowed the stack of the client's parser, and ended the process.
#[tokio::test]
async fn a_deeply_nested_header_stops_its_message_alone() {
    let world = World::new().await;
    let running = start(&world).await;
    let mut publisher = RawPublisher::connect(&world.broker.url()).await;
    let mut expected = Vec::new();
    for (kind, levels) in [(b'A', 2_000), (b'F', 2_000), (b'A', 26_000), (b'F', 18_000)] {
        let id = Uuid::now_v7().to_string();
        let headers = table(&[
            (b"cloudEvents_partitionkey", long_value(b'S', b"a")),
            (b"deep", nested(kind, levels)),
        ]);
        let values = [
            headers,
            short_string(id.as_bytes()),
            short_string(b"orders.placed"),
        ];
        let flags = HEADERS | MESSAGE_ID | TYPE;
        publisher
            .publish(ROUTE, (flags, &values.concat()), b"{}")
            .await;
        expected.push(format!(
            "undecodable|dead|t|{id}|orders.placed|a|orders.placed|{{}}|the message cannot be read as it was sent: header \"deep\" is nested more than 32 levels deep"
        ));
    }
    world.broker.publish(&Placed::new("b", 1)).await;
    eventually("the good message is handled", async || {
        world.database.effects("b").await == [1]
    })
    .await;
    eventually("the others are dead", async || {
        let mut dead = world.database.texts(DEAD).await;
        dead.sort();
        expected.sort();
        dead == expected
    })
    .await;
    assert!(!running.is_finished());
    running.stop().await;
    world.broker.settled("billing").await;
}

/// A message with texts of any bytes.
struct Case<'a> {
    topic: &'static [u8],
    headers: Vec<u8>,
    id: &'a [u8],
    type_name: &'static [u8],
    /// The row that it becomes.
    dead: String,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            topic: b"orders.placed",
            headers: Vec::new(),
            id: b"",
            type_name: b"orders.placed",
            dead: String::new(),
        }
    }
}

/// A short string in another encoding ended the connection each time it came.
#[tokio::test]
async fn a_text_that_is_not_utf8_stops_its_message_alone() {
    let world = World::new().await;
    let running = start(&world).await;
    let mut publisher = RawPublisher::connect(&world.broker.url()).await;
    let good = Uuid::now_v7().to_string();
    let key = |key: &[u8]| table(&[(b"cloudEvents_partitionkey", long_value(b'S', key))]);
    let cases: [Case<'_>; 5] = [
        // Two ids that would be the same one if what is not UTF-8 were replaced.
        Case {
            headers: key(b"a"),
            id: b"caf\xE9",
            dead: "undecodable|dead|-|a|orders.placed".to_owned(),
            ..Case::default()
        },
        Case {
            headers: key(b"a"),
            id: b"caf\xE8",
            dead: "undecodable|dead|-|a|orders.placed".to_owned(),
            ..Case::default()
        },
        Case {
            headers: table(&[]),
            id: good.as_bytes(),
            type_name: b"caf\xE9",
            dead: format!("undecodable|dead|{good}|-|-"),
            ..Case::default()
        },
        Case {
            headers: key(b"\xFF"),
            id: b"1",
            dead: "undecodable|dead|1|-|orders.placed".to_owned(),
            ..Case::default()
        },
        Case {
            topic: b"orders.\xFF",
            headers: table(&[(b"n\xFF", vec![b'V'])]),
            id: b"2",
            dead: "undecodable|dead|2|-|orders.placed".to_owned(),
            ..Case::default()
        },
    ];
    let channel = world.broker.channel().await;
    channel
        .queue_bind(
            "billing".into(),
            "postroom".into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    for case in &cases {
        let values = [
            &case.headers,
            &*short_string(case.id),
            &short_string(case.type_name),
        ];
        let flags = HEADERS | MESSAGE_ID | TYPE;
        let route = ("postroom", case.topic);
        publisher
            .publish(route, (flags, &values.concat()), b"{}")
            .await;
    }
    world.broker.publish(&Placed::new("b", 1)).await;
    eventually("the good message is handled", async || {
        world.database.effects("b").await == [1]
    })
    .await;
    let mut expected = cases.map(|case| case.dead);
    expected.sort();
    eventually("the others are dead", async || {
        let mut dead = world.database.texts(DEAD_SHORT).await;
        dead.sort();
        dead == expected
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
}

/// The id and the source of an unreadable message may not be all of it, so they make no other a duplicate.
#[tokio::test]
async fn an_unreadable_message_makes_no_other_a_duplicate() {
    let world = World::new().await;
    let running = start(&world).await;
    let mut publisher = RawPublisher::connect(&world.broker.url()).await;
    let id = uuid_v4().to_string();
    let identity = [short_string(id.as_bytes()), short_string(b"orders.placed")].concat();
    let unreadable = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    for source in [&b"caf\xE9"[..], b"caf\xE8"] {
        let values = [&*identity, &short_string(source)].concat();
        let flags = MESSAGE_ID | TYPE | APP_ID;
        publisher
            .publish(ROUTE, (flags, &values), &unreadable)
            .await;
    }
    let dead = format!("undecodable|dead|{id}|-|orders.placed");
    eventually("both are dead", async || {
        world.database.texts(DEAD_SHORT).await == [&*dead, &*dead]
    })
    .await;
    let body = serde_json::to_vec(&Placed::new("b", 1)).unwrap();
    publisher
        .publish(ROUTE, (MESSAGE_ID | TYPE, &identity), &body)
        .await;
    eventually("a good one of the same id is handled", async || {
        world.database.effects("b").await == [1]
    })
    .await;
    world
        .database
        .execute("SELECT inbox.retry(id) FROM inbox.parked")
        .await;
    eventually(
        "both are handled once an operator retries them",
        async || {
            world.database.effects("a").await == [1, 1]
                && world.database.texts(DEAD_SHORT).await.is_empty()
        },
    )
    .await;
    running.stop().await;
}

/// The row could not be stored, so the message was parked again and again, and held up its prefetch window.
#[tokio::test]
async fn a_reason_that_a_publisher_gives_stops_its_message_alone() {
    let world = World::new().await;
    let running = start(&world).await;
    let mut publisher = RawPublisher::connect(&world.broker.url()).await;
    let id = Uuid::now_v7().to_string();
    let values = [
        table(&[(b"postroom-unreadable", long_value(b'S', b"a\0b"))]),
        short_string(id.as_bytes()),
        short_string(b"orders.placed"),
    ];
    let flags = HEADERS | MESSAGE_ID | TYPE;
    publisher
        .publish(ROUTE, (flags, &values.concat()), b"{}")
        .await;
    let dead = format!("undecodable|dead|{id}|-|orders.placed");
    eventually("it is dead", async || {
        world.database.texts(DEAD_SHORT).await == [&*dead]
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
}
