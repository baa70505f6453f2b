//! Behaviours that a consumer shows over every source: a queue of RabbitMQ, and a queue in memory.

use std::{sync::Arc, time::Duration};

use inbox::{Consumer, ConsumerBuilder, Context, Delivery, HandlerError, Incoming, RunError};
use postroom_testkit::{DEADLINE, TestQueue, eventually};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{Log, Placed, Proxy, World, insert_effect};

/// A source under test, with the means that no source offers.
trait Queue: Sized {
    async fn new(world: &World) -> Self;

    /// Adjusts a consumer to the source.
    fn adjust(&self, builder: ConsumerBuilder) -> ConsumerBuilder;

    /// Runs a consumer of the source.
    fn run(
        &self,
        consumer: Consumer,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<Result<(), RunError>>;

    async fn push(&self, world: &World, event: &Placed);

    async fn is_subscribed(&self, world: &World) -> bool;

    /// Cuts the subscription once; the next attempt to subscribe succeeds.
    async fn cut(&self);

    /// Returns `true` if every message is acknowledged, while no consumer runs.
    async fn is_empty(&self, world: &World) -> bool;
}

impl Queue for TestQueue {
    async fn new(_world: &World) -> Self {
        Self::default()
    }

    fn adjust(&self, builder: ConsumerBuilder) -> ConsumerBuilder {
        builder
    }

    fn run(
        &self,
        consumer: Consumer,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<Result<(), RunError>> {
        tokio::spawn(consumer.run_over(self.clone(), stop))
    }

    async fn push(&self, _world: &World, event: &Placed) {
        let mut message = Incoming::default();
        message.message_id = Some(Uuid::now_v7().to_string());
        message.topic = "orders.placed".into();
        message.key = Some(event.customer.clone());
        let body = serde_json::to_vec(event).unwrap();
        Self::push(self, Delivery::new(message, body));
    }

    async fn is_subscribed(&self, _world: &World) -> bool {
        Self::is_subscribed(self)
    }

    async fn cut(&self) {
        Self::cut(self);
    }

    async fn is_empty(&self, _world: &World) -> bool {
        Self::is_empty(self)
    }
}

/// The queue at RabbitMQ, over a wire that can be cut.
struct RabbitQueue {
    wire: Proxy,
    url: String,
}

impl Queue for RabbitQueue {
    async fn new(world: &World) -> Self {
        let wire = Proxy::new(world.broker.address(), true).await;
        let url = world.broker.url_through(wire.port);
        Self { wire, url }
    }

    fn adjust(&self, builder: ConsumerBuilder) -> ConsumerBuilder {
        builder.amqp_url(&self.url)
    }

    fn run(
        &self,
        consumer: Consumer,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<Result<(), RunError>> {
        tokio::spawn(consumer.run(stop))
    }

    async fn push(&self, world: &World, event: &Placed) {
        world.broker.publish(event).await;
    }

    async fn is_subscribed(&self, world: &World) -> bool {
        matches!(world.broker.queue("billing").await, Some((_, 1..)))
    }

    async fn cut(&self) {
        self.wire.cut();
        self.wire.mend();
    }

    async fn is_empty(&self, world: &World) -> bool {
        world.broker.queue("billing").await == Some((0, 0))
    }
}

/// A running consumer whose handlers wait for permits.
struct Running<Q> {
    world: World,
    queue: Q,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
    /// Handlers that have begun, as `customer n`.
    begun: Log,
    permits: Arc<Semaphore>,
}

impl<Q: Queue> Running<Q> {
    async fn start() -> Self {
        let world = World::new().await;
        let queue = Q::new(&world).await;
        let (begun, permits) = (Log::default(), Arc::new(Semaphore::new(0)));
        let (log, gate) = (begun.clone(), Arc::clone(&permits));
        let handler = move |mut ctx: Context, event: Placed| {
            let (log, gate) = (log.clone(), Arc::clone(&gate));
            async move {
                log.add(format!("{} {}", event.customer, event.n));
                gate.acquire().await.unwrap().forget();
                Ok::<_, HandlerError>(insert_effect(&mut ctx, &event).await?)
            }
        };
        let builder = world.consumer().handler_timeout(DEADLINE);
        let consumer = queue.adjust(builder).on::<Placed, _, _>(handler);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = queue.run(consumer.build().unwrap(), stopped);
        let running = Self {
            world,
            queue,
            stop,
            task,
            begun,
            permits,
        };
        running.subscribed().await;
        running
    }

    async fn subscribed(&self) {
        eventually("the consumer is subscribed", async || {
            self.queue.is_subscribed(&self.world).await
        })
        .await;
    }

    async fn push(&self, customer: &str, count: i64) {
        for n in 0..count {
            self.queue
                .push(&self.world, &Placed::new(customer, n))
                .await;
        }
    }

    async fn begun(&self, line: &str) {
        eventually("a handler has begun", async || self.begun.count(line) > 0).await;
    }

    async fn effects(&self, customer: &str, expected: impl Iterator<Item = i64>) {
        let expected: Vec<i64> = expected.collect();
        eventually("the handlers have committed", async || {
            self.world.database.effects(customer).await.len() >= expected.len()
        })
        .await;
        assert_eq!(self.world.database.effects(customer).await, expected);
    }

    /// Stops the consumer; returns its world.
    async fn stop(self) -> (World, Q) {
        self.stop.cancel();
        let ended = timeout(DEADLINE, self.task).await;
        ended.unwrap().unwrap().unwrap();
        (self.world, self.queue)
    }
}

async fn g5_each_message_is_handled_once_and_acknowledged<Q: Queue>() {
    let running = Running::<Q>::start().await;
    running.permits.add_permits(40);
    running.push("a", 20).await;
    running.push("b", 20).await;
    running.effects("a", 0..20).await;
    running.effects("b", 0..20).await;
    let (world, queue) = running.stop().await;
    eventually("everything is acknowledged", async || {
        queue.is_empty(&world).await
    })
    .await;
}

async fn g5_a_cut_while_a_handler_runs_has_no_second_effect<Q: Queue>() {
    let running = Running::<Q>::start().await;
    running.push("a", 3).await;
    running.begun("a 0").await;
    running.queue.cut().await;
    running.subscribed().await;
    running.permits.add_permits(3);
    running.effects("a", 0..3).await;
    let (world, queue) = running.stop().await;
    eventually("everything is acknowledged", async || {
        queue.is_empty(&world).await
    })
    .await;
    assert_eq!(world.database.effects("a").await, [0, 1, 2]);
    assert!(world.database.parked().await.is_empty());
}

async fn g4_a_key_keeps_its_order_over_cuts<Q: Queue>() {
    let running = Running::<Q>::start().await;
    running.push("a", 12).await;
    for n in [0, 4, 8] {
        running.begun(&format!("a {n}")).await;
        running.queue.cut().await;
        running.permits.add_permits(4);
    }
    running.effects("a", 0..12).await;
    running.stop().await;
}

async fn g3_a_stop_finishes_what_runs_and_leaves_the_rest<Q: Queue>() {
    let running = Running::<Q>::start().await;
    running.push("a", 3).await;
    running.begun("a 0").await;
    running.stop.cancel();
    running.permits.add_permits(3);
    let (world, queue) = running.stop().await;
    assert_eq!(world.database.effects("a").await, [0]);
    assert!(!queue.is_empty(&world).await);
    let inbox = world.database.count("SELECT count(*) FROM inbox.processed");
    assert_eq!(inbox.await, 1);
    assert!(world.database.parked().await.is_empty());
}

/// Makes a test of each behaviour over one source.
macro_rules! suite {
    ($queue:ty: $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                let behaviour = super::$behaviour::<$queue>();
                tokio::time::timeout(LIMIT, behaviour).await.expect("it ends");
            }
        )+
    };
    ($queue:ty) => {
        use super::LIMIT;

        suite! {
            $queue:
            g5_each_message_is_handled_once_and_acknowledged,
            g5_a_cut_while_a_handler_runs_has_no_second_effect,
            g4_a_key_keeps_its_order_over_cuts,
            g3_a_stop_finishes_what_runs_and_leaves_the_rest,
        }
    };
}

/// Longest run of one behaviour.
const LIMIT: Duration = Duration::from_mins(2);

mod memory {
    suite!(super::TestQueue);
}

mod rabbitmq {
    suite!(super::RabbitQueue);
}
