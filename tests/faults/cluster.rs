//! Nodes of a RabbitMQ cluster are killed under load, with a quorum queue on all three.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests.

use lapin::{
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable, LongString},
};
use outbox::{Message, Outbox};
use postroom_testkit::{
    Login, Proxy, RabbitCluster, RelayProcess, Seen, Stack, Tap, VirtualHost, Wire, declare,
    eventually, in_time, short,
};
use sqlx::PgPool;
use support::{ConsumerProcess, judged, judged_effects, load::Load};

fn load() -> Load {
    Load {
        writers: 3,
        slow: false,
        ..Load::new(0)
    }
}

/// A cluster behind an address that leads to one node at a time, as a load balancer does.
struct World {
    cluster: RabbitCluster,
    balancer: Proxy,
    stack: Stack,
}

impl World {
    /// Everybody's connections lead to the first node, which leads the queue, since it declares it.
    async fn new() -> Self {
        Self::with_queue_for("#").await
    }

    async fn with_queue_for(pattern: &str) -> Self {
        let cluster = RabbitCluster::start();
        let [first, .., last] = &cluster.nodes;
        let balancer = Proxy::new(&first.url(), Wire::Forward).await;
        let mut stack = Stack::new().await;
        stack.broker = VirtualHost::new_on(&balancer.url(&first.url()), &last.admin_url());
        let (_connection, channel) = stack.broker.channel().await;
        declare(&channel, "kept", pattern, quorum()).await;
        Self {
            cluster,
            balancer,
            stack,
        }
    }

    /// Judges what the queue holds in the end.
    async fn assert_clean(&self) {
        self.stack.delivered().await;
        let (connection, channel) = self.stack.broker.channel().await;
        let tap = Tap::read(connection, channel, "kept").await;
        judged(&self.stack.database, &tap).await.assert_clean();
    }
}

fn quorum() -> FieldTable {
    let mut quorum = FieldTable::default();
    let kind = AMQPValue::LongString(LongString::from("quorum"));
    quorum.insert(short("x-queue-type"), kind);
    quorum
}

/// Messages that were confirmed so far.
fn delivered(relay: &RelayProcess) -> u64 {
    relay.metric("postroom_relay_delivered_total") as u64
}

/// Waits until so many more messages are confirmed: more than can have been in flight before.
async fn confirms(relay: &RelayProcess, count: u64) {
    let before = delivered(relay);
    eventually("the broker confirms", async || {
        delivered(relay) >= before + count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_minority_of_a_cluster_is_killed_and_messages_flow_on() {
    let mut world = World::new().await;
    let relay = world.stack.relay().await;
    let load = load();
    load.prepare(&world.stack.database).await;
    load.during(&world.stack.database, async {
        confirms(&relay, 200).await;
        world.cluster.nodes[1].kill();
        confirms(&relay, 200).await;
        world.cluster.resume();
        // The relay's own node, which leads the queue.
        world.cluster.nodes[0].kill();
        world.balancer.lead_to(&world.cluster.nodes[2].url());
        confirms(&relay, 200).await;
    })
    .await;
    world.assert_clean().await;
}

/// The same, up to the effects of a consumer.
#[tokio::test(flavor = "multi_thread")]
async fn g4_g5_a_minority_of_a_cluster_is_killed_and_effects_go_on() {
    let mut world = World::new().await;
    let database = &world.stack.database;
    ConsumerProcess::prepare(database).await;
    let _relay = world.stack.relay().await;
    let consumer = ConsumerProcess::start(&world.stack, 20);
    let (connection, _channel) = world.stack.broker.channel().await;
    eventually("the consumer reads its queue", async || {
        // Without such a queue the broker closes the channel.
        let asked = connection.create_channel().await.unwrap();
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = asked.queue_declare(short("ledger"), passive, FieldTable::default());
        declared
            .await
            .is_ok_and(|queue| queue.consumer_count() == 1)
    })
    .await;
    let load = load();
    load.prepare(database).await;
    load.during(database, async {
        effects(&world.stack, 100).await;
        world.cluster.nodes[1].kill();
        effects(&world.stack, 100).await;
        world.cluster.resume();
        // Everybody's node, which leads the queues.
        world.cluster.nodes[0].kill();
        world.balancer.lead_to(&world.cluster.nodes[2].url());
        effects(&world.stack, 100).await;
    })
    .await;
    judged_effects(database).await.assert_clean();
    consumer.stop().await;
}

/// Waits for the effects of so many more messages.
async fn effects(stack: &Stack, count: i64) {
    let mut owner = stack.database.connect(Login::Owner).await;
    let mut counted = async || {
        let counting = sqlx::query_scalar("SELECT count(*) FROM effect");
        counting.fetch_one(&mut owner).await.unwrap()
    };
    let before: i64 = counted().await;
    let mut there = async || counted().await >= before + count;
    // RabbitMQ 4.3 keeps its messages for a consumer whose node is gone, for a minute.
    if !in_time(&mut there).await {
        eventually("messages have their effects", there).await;
    }
}

/// RabbitMQ's end of a channel remembers which node led the queue at the first message. The channel refuses messages
/// while this node is away, also once another node leads the queue: the relay has to open another channel.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_channels_that_met_a_dead_leader_are_opened_anew() {
    let mut world = World::new().await;
    let relay = world.stack.relay().await;
    let load = load();
    load.prepare(&world.stack.database).await;
    load.during(&world.stack.database, async {
        confirms(&relay, 200).await;
        world.balancer.lead_to(&world.cluster.nodes[2].url());
        // Without a second node there is no new leader.
        world.cluster.nodes[1].kill();
        world.cluster.nodes[0].kill();
        eventually("the broker refuses", async || {
            relay.metrics().contains(r#"reason="nacked""#)
        })
        .await;
        world.cluster.nodes[1].resume();
        confirms(&relay, 200).await;
    })
    .await;
    world.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_without_a_majority_of_the_cluster_nothing_counts_as_delivered() {
    let mut world = World::new().await;
    let relay = world
        .stack
        .relay_with(&[("POSTROOM_AMQP_CONFIRM_TIMEOUT", "1s")])
        .await;
    let load = load();
    load.prepare(&world.stack.database).await;
    load.during(&world.stack.database, async {
        confirms(&relay, 200).await;
        world.cluster.nodes[1].kill();
        world.cluster.nodes[2].kill();
        overdue(&relay).await;
        let before = delivered(&relay);
        let losses = relay.metric("postroom_relay_broker_losses_total");
        eventually("the relay tries once more", async || {
            relay.metric("postroom_relay_broker_losses_total") >= losses + 1.0
        })
        .await;
        overdue(&relay).await;
        eventually("a new connection is not taken for a good one", async || {
            let health = relay.health();
            health.is_some_and(|(ready, health)| !ready && health["broker"] == "unconfirmed")
        })
        .await;
        let meanwhile = delivered(&relay) - before;
        assert_eq!(meanwhile, 0, "delivered without a majority");
        world.cluster.resume();
        confirms(&relay, 200).await;
    })
    .await;
    relay.ready().await;
    world.assert_clean().await;
}

/// Waits until the relay says that confirms do not come.
async fn overdue(relay: &RelayProcess) {
    eventually("the relay says that confirms are overdue", async || {
        relay.health().is_some_and(|(ready, health)| {
            let problem = health["problem"].as_str().unwrap_or_default();
            !ready && problem.contains("no confirm within")
        })
    })
    .await;
}

/// Of two queues one loses its majority: what goes to the other arrives as if nothing was wrong, and is
/// not sent again and again, though more waits for the first than the window takes.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_queue_without_a_majority_stops_its_own_messages_alone() {
    let mut world = World::with_queue_for("load").await;
    let (_connection, channel) = world.stack.broker.channel().await;
    let mut on_one_node = quorum();
    on_one_node.insert(short("x-quorum-initial-group-size"), AMQPValue::LongInt(1));
    declare(&channel, "well", "well", on_one_node).await;
    let (connection, channel) = world.stack.broker.channel().await;
    let well = Tap::read(connection, channel, "well").await;
    let settings = [
        ("POSTROOM_AMQP_CONFIRM_TIMEOUT", "3s"),
        ("POSTROOM_PUBLISH_WINDOW_ROWS", "600"),
        ("POSTROOM_PUBLISH_RETRY_LONGEST", "5s"),
    ];
    let relay = world.stack.relay_with(&settings).await;
    let pool = world.stack.database.pool(Login::Producer).await;
    let load = load();
    load.prepare(&world.stack.database).await;
    load.during(&world.stack.database, async {
        confirms(&relay, 200).await;
        world.cluster.nodes[1].kill();
        world.cluster.nodes[2].kill();
        // Every channel has met the stuck queue by then; the connection is given up once.
        let mut count = 0;
        eventually("the relay tells the topic from others", async || {
            publish_well(&pool, count).await;
            count += 1;
            relay.logged().contains("for messages of these topics")
        })
        .await;
        let losses = relay.metric("postroom_relay_broker_losses_total");
        for number in count..count + 500 {
            publish_well(&pool, number).await;
        }
        let seen = well.distinct(count + 500).await;
        let later = seen.iter().map(number).filter(|number| *number >= count);
        assert_eq!(later.count(), 500, "some came again");
        let given_up = relay.metric("postroom_relay_broker_losses_total") > losses;
        assert!(!given_up, "the connection is fine");
        world.cluster.resume();
        confirms(&relay, 200).await;
    })
    .await;
    world.assert_clean().await;
    in_order(&well);
}

async fn publish_well(pool: &PgPool, number: usize) {
    let message = Message::bytes("well", "text/plain", number.to_string()).unwrap();
    let message = message.key(format!("well-{}", number % 7)).unwrap();
    let mut tx = outbox::transaction::begin(pool).await.unwrap();
    Outbox::new().publish(&mut tx, message).await.unwrap();
    tx.commit().await.unwrap();
}

/// Each key's numbers grow from one first occurrence to the next.
fn in_order(tap: &Tap) {
    for (key, seen) in tap.first_by_key() {
        assert!(seen.iter().map(number).is_sorted(), "{key}");
    }
}

fn number(seen: &Seen) -> usize {
    let body = str::from_utf8(&seen.body).unwrap();
    body.parse().unwrap()
}
