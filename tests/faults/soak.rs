//! Many deliveries with random duplicates, while consumers are killed and connections are closed.
//!
//! `make soak` runs a million; by default it is a twentieth of that.
#![allow(clippy::expect_used, clippy::print_stderr)] // Helpers of tests.

use std::{collections::VecDeque, time::Instant};

use futures_util::future::try_join_all;
use history::{Committed, Effect, Seen, judge_effects, judge_queue};
use lapin::{
    BasicProperties, Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use postroom_testkit::{Login, Stack, eventually, short};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::PgPool;
use support::ConsumerProcess;
use uuid::Uuid;

const KEYS: u64 = 500;

/// A message may come again as long as it is among so many.
const REMEMBERED: usize = 2_000;

/// Most messages in the queue: so that faults fall among deliveries, not behind all of them.
const AHEAD: usize = 5_000;

fn properties(id: Uuid, key: u64) -> BasicProperties {
    let mut headers = FieldTable::default();
    let key = AMQPValue::LongString(LongString::from(format!("key-{key}")));
    headers.insert(short("cloudEvents_partitionkey"), key);
    BasicProperties::default()
        .with_message_id(short(&id.to_string()))
        .with_type(short("load"))
        .with_content_type(short("application/json"))
        .with_delivery_mode(2)
        .with_headers(headers)
}

/// Sends deliveries, about a third of them repetitions; returns the distinct ones in order.
async fn send(
    channel: &Channel,
    random: &mut StdRng,
    count: usize,
    recent: &mut VecDeque<(Uuid, u64)>,
) -> Vec<(Uuid, u64)> {
    let mut fresh = Vec::new();
    let mut confirms = Vec::with_capacity(count);
    for _ in 0..count {
        let again = random.random_bool(0.33).then(|| {
            let place = random.random_range(0..recent.len().max(1));
            recent.get(place).copied()
        });
        let (id, key) = again.flatten().unwrap_or_else(|| {
            let new = (Uuid::now_v7(), random.random_range(0..KEYS));
            fresh.push(new);
            recent.push_back(new);
            new
        });
        if recent.len() > REMEMBERED {
            recent.pop_front();
        }
        let (exchange, topic) = (short("postroom"), short("load"));
        let options = BasicPublishOptions::default();
        let body = br#"{"by":"soak"}"#;
        let publish = channel.basic_publish(exchange, topic, options, body, properties(id, key));
        confirms.push(publish.await.expect("publishing"));
    }
    for confirm in try_join_all(confirms).await.expect("the broker confirms") {
        assert!(confirm.is_ack(), "the broker refused a delivery");
    }
    fresh
}

/// Counts effects, without reading them all each time.
struct Effects {
    pool: PgPool,
    /// Positions up to here are counted: no transaction stays open for as many as lie above.
    upto: i64,
    counted: i64,
}

impl Effects {
    const fn new(pool: PgPool) -> Self {
        Self {
            pool,
            upto: 0,
            counted: 0,
        }
    }

    async fn count(&mut self) -> usize {
        let (upto, settled, above): (i64, i64, i64) = sqlx::query_as(
            "SELECT u.upto, count(*) FILTER (WHERE seq <= u.upto), count(*) FILTER (WHERE seq > u.upto)
             FROM effect, (SELECT greatest($1, coalesce(max(seq), 0) - 20000) AS upto FROM effect) AS u
             WHERE seq > $1 GROUP BY u.upto",
        )
        .bind(self.upto)
        .fetch_optional(&self.pool)
        .await
        .expect("counting effects")
        .unwrap_or((self.upto, 0, 0));
        self.upto = upto;
        self.counted += settled;
        (self.counted + above) as usize
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_soak_of_duplicates_and_redeliveries() {
    let deliveries = std::env::var("POSTROOM_SOAK_DELIVERIES");
    let deliveries = deliveries.map_or(50_000, |count| {
        count.parse().expect("POSTROOM_SOAK_DELIVERIES is a number")
    });
    let seed = support::seed();
    eprintln!("soak: {deliveries} deliveries, POSTROOM_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stack = Stack::new().await;
    ConsumerProcess::prepare(&stack.database).await;
    let owner = stack.database.pool(Login::Owner).await;
    let mut effects = Effects::new(owner.clone());
    let start = |together| ConsumerProcess::start(&stack, together);
    let (_connection, channel) = stack.broker.channel().await;
    eventually("the broker lists the publisher", async || {
        !stack.broker.connections().is_empty()
    })
    .await;
    let publisher = stack.broker.connections();
    stack.broker.declare_exchange();
    let mut consumers = [start(50), start(1)];
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("asking for confirms");
    let path = format!("bindings/{}", stack.broker.name);
    eventually("the queue is bound", async || {
        let bindings = stack.broker.request("GET", &path, None);
        let mut bindings = bindings.as_array().into_iter().flatten();
        bindings
            .any(|binding| binding["destination"] == "ledger" && binding["routing_key"] == "load")
    })
    .await;

    let began = Instant::now();
    let mut recent = VecDeque::new();
    let mut all = Vec::new();
    let mut sent = 0;
    let (mut kills, mut cuts, mut told) = (0, 0, 0);
    while sent < deliveries {
        let part = random.random_range(500..=AHEAD / 2).min(deliveries - sent);
        all.extend(send(&channel, &mut random, part, &mut recent).await);
        sent += part;
        if random.random_bool(0.15) {
            let which = random.random_range(0..2);
            let together = if random.random_bool(0.7) { 50 } else { 1 };
            let killed = std::mem::replace(&mut consumers[which], start(together));
            killed.kill().await;
            kills += 1;
        } else if random.random_bool(0.1) {
            stack.broker.close_connections_but(&publisher);
            cuts += 1;
        }
        eventually("the consumers keep up", async || {
            effects.count().await + AHEAD > all.len()
        })
        .await;
        if sent * 20 / deliveries > told {
            told = sent * 20 / deliveries;
            let rate = sent as f64 / began.elapsed().as_secs_f64();
            eprintln!(
                "soak: {sent} deliveries, {kills} consumers killed, {cuts} times cut, {rate:.0}/s"
            );
        }
    }
    eventually("every message has its effect", async || {
        effects.count().await >= all.len()
    })
    .await;
    for consumer in consumers {
        consumer.stop().await;
    }
    judge(&owner, &all).await;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "soak: {deliveries} deliveries of {} messages in {seconds:.0} s; {kills} consumers killed, {cuts} times cut; effects beyond one 0, lost 0",
        all.len()
    );
}

async fn judge(pool: &PgPool, all: &[(Uuid, u64)]) {
    let committed: Vec<Committed> = all
        .iter()
        .enumerate()
        .map(|(place, (id, key))| Committed {
            id: id.to_string(),
            key: Some(format!("key-{key}")),
            place: place as i64,
        })
        .collect();
    let rows: Vec<(Uuid, Option<String>)> =
        sqlx::query_as("SELECT id, key FROM effect ORDER BY seq")
            .fetch_all(pool)
            .await
            .expect("reading the effects");
    let ids = rows.iter().map(|(id, _)| id.to_string());
    let effects: Vec<Effect> = ids.map(|id| Effect { id }).collect();
    judge_effects(&committed, &effects).assert_clean();
    let order: Vec<Seen> = rows
        .into_iter()
        .map(|(id, key)| Seen {
            id: id.to_string(),
            key,
        })
        .collect();
    judge_queue(&committed, &order).assert_clean();
}
