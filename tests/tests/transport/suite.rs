//! The suite. A behaviour that an adapter does not show is a fault of the adapter.

use std::time::Duration;

use chrono::Utc;
use outbox::Headers;
use relay::transport::{
    BrokerError, Channel as _, Connection as _, Event, Message, Opened, Outcome, Transport,
};
use support::{DEADLINE, eventually};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const FENCE: &str = "postroom.fence.suite";

/// A broker under test, with the means that no transport offers.
pub(crate) trait World: Sized {
    type Transport: Transport;

    /// Makes a broker without queues.
    async fn new() -> Self;

    /// As [`World::new`], but blocking it disturbs no other test.
    async fn alone() -> Self;

    fn transport(&self) -> &Self::Transport;

    /// Binds a new queue, which refuses messages beyond `room`.
    async fn bind(&self, queue: &str, pattern: &str, room: usize);

    /// Takes the ids of the messages in a queue.
    async fn take(&self, queue: &str) -> Vec<String>;

    /// Holds back all answers, or gives those held back.
    async fn mute(&self, mute: bool);

    /// Takes no messages, or takes messages again.
    async fn block(&self, block: bool);

    /// Cuts all connections, also those whose answers are held back.
    async fn cut(&self);
}

/// Makes a test of each behaviour, for one [`World`].
macro_rules! suite {
    ($world:ty: $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                $crate::suite::$behaviour::<$world>().await;
            }
        )+
    };
    ($world:ty) => {
        suite! {
            $world:
            g3_a_message_that_a_queue_takes_is_confirmed,
            g3_a_message_that_no_queue_takes_is_unroutable,
            g3_returns_are_matched_to_their_messages,
            g3_a_full_queue_refuses_and_others_take,
            a_message_that_cannot_be_carried_is_rejected_alone,
            a_message_over_which_the_broker_closes_is_blamed,
            an_empty_batch_has_no_outcomes,
            g7_a_fence_has_one_holder,
            g7_a_cancelled_opening_leaves_no_fence,
            g3_a_cut_leaves_every_outcome_unknown,
            g3_a_renewed_channel_gives_no_answers_to_earlier_messages,
            a_blocked_broker_says_so_and_takes_the_messages_later,
        }
    };
}

async fn open<W: World>(world: &W, fence: &str) -> Result<Opened<W::Transport>, BrokerError> {
    let stop = CancellationToken::new();
    let opened = timeout(DEADLINE, world.transport().open(fence, &stop)).await;
    opened.expect("in time").expect("not stopped")
}

type Channel<W> = <<W as World>::Transport as Transport>::Channel;

async fn publish<W: World>(channel: &mut Channel<W>, messages: &[Message]) -> Vec<Outcome> {
    let messages: Vec<&Message> = messages.iter().collect();
    let published = timeout(DEADLINE, channel.publish(&messages)).await;
    published.expect("in time").expect("no loss")
}

fn message(topic: &str) -> Message {
    Message {
        message_id: Uuid::now_v7(),
        topic: topic.into(),
        key: None,
        type_name: topic.into(),
        content_type: "text/plain".into(),
        headers: Headers::new(),
        occurred_at: Utc::now(),
        payload: b"body".to_vec(),
    }
}

fn ids(messages: &[Message]) -> Vec<String> {
    let ids = messages
        .iter()
        .map(|message| message.message_id.to_string());
    ids.collect()
}

pub(crate) async fn g3_a_message_that_a_queue_takes_is_confirmed<W: World>() {
    let world = W::new().await;
    world.bind("q", "orders.#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let messages = ["orders", "orders.a", "orders.a.b"].map(message);
    let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
    assert_eq!(outcomes, vec![Outcome::Confirmed; 3]);
    assert_eq!(world.take("q").await, ids(&messages));
    opened.connection.close().await;
}

pub(crate) async fn g3_a_message_that_no_queue_takes_is_unroutable<W: World>() {
    let world = W::new().await;
    world.bind("q", "orders.*", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let messages = ["invoices", "orders.a.b"].map(message);
    let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
    assert_eq!(outcomes, vec![Outcome::Unroutable; 2]);
    opened.connection.close().await;
}

pub(crate) async fn g3_returns_are_matched_to_their_messages<W: World>() {
    let world = W::new().await;
    world.bind("q", "bound", 10_000).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    for _ in 0..5 {
        let topics = (0..500).map(|n| ["bound", "unbound", "bound"][n % 3]);
        let messages: Vec<Message> = topics.map(message).collect();
        let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
        assert_eq!(outcomes.len(), messages.len());
        for (message, outcome) in messages.iter().zip(outcomes) {
            let is_bound = outcome == Outcome::Confirmed;
            assert_eq!(is_bound, &*message.topic == "bound", "{outcome:?}");
        }
    }
    opened.connection.close().await;
}

pub(crate) async fn g3_a_full_queue_refuses_and_others_take<W: World>() {
    let world = W::new().await;
    world.bind("small", "a", 1).await;
    world.bind("large", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let channel = &mut opened.channels[0];
    let first = publish::<W>(channel, &[message("a")]).await;
    assert_eq!(first, [Outcome::Confirmed]);
    let outcomes = publish::<W>(channel, &["b", "a", "b"].map(message)).await;
    let expected = [Outcome::Confirmed, Outcome::Nacked, Outcome::Confirmed];
    assert_eq!(outcomes, expected);
    assert_eq!(world.take("large").await.len(), 4);
    assert_eq!(world.take("small").await.len(), 1);
    opened.connection.close().await;
}

pub(crate) async fn a_message_that_cannot_be_carried_is_rejected_alone<W: World>() {
    let world = W::new().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let messages = ["a".to_owned(), "x".repeat(256), "b".to_owned()];
    let messages = messages.map(|topic| message(&topic));
    let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
    assert_eq!(outcomes[0], Outcome::Confirmed);
    assert!(matches!(outcomes[1], Outcome::Rejected(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::Confirmed);
    opened.connection.close().await;
}

pub(crate) async fn a_message_over_which_the_broker_closes_is_blamed<W: World>() {
    let world = W::new().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let (small, mut large) = (message("small"), message("large"));
    large.headers.set("large", "x".repeat(50_000));
    let batch = [&small, &large];
    let published = timeout(DEADLINE, opened.channels[0].publish(&batch)).await;
    let published = published.expect("in time");
    let loss = published.expect_err("a loss");
    assert!(loss.blame.is_some(), "{loss:?}");
    opened.connection.close().await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let outcomes = publish::<W>(&mut opened.channels[0], &[message("small")]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
    opened.connection.close().await;
}

pub(crate) async fn an_empty_batch_has_no_outcomes<W: World>() {
    let world = W::new().await;
    let mut opened = open(&world, FENCE).await.unwrap();
    assert_eq!(publish::<W>(&mut opened.channels[0], &[]).await, []);
    opened.connection.close().await;
}

pub(crate) async fn g7_a_fence_has_one_holder<W: World>() {
    let world = W::new().await;
    let first = open(&world, FENCE).await.unwrap();
    let refused = open(&world, FENCE).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Fenced { .. }), "{refused}");
    world
        .transport()
        .check(FENCE)
        .await
        .expect("a standby may ask");
    let other = open(&world, "postroom.fence.other").await.unwrap();
    first.connection.close().await;
    let next = open(&world, FENCE).await.unwrap();
    next.connection.close().await;
    other.connection.close().await;
}

pub(crate) async fn g7_a_cancelled_opening_leaves_no_fence<W: World>() {
    let world = W::new().await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(world.transport().open(FENCE, &stop).await.is_none());
    let stop = CancellationToken::new();
    let (opened, ()) = tokio::join!(world.transport().open(FENCE, &stop), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        stop.cancel();
    });
    if let Some(opened) = opened {
        opened.unwrap().connection.close().await;
    }
    let opened = open(&world, FENCE).await.unwrap();
    opened.connection.close().await;
}

pub(crate) async fn g3_a_cut_leaves_every_outcome_unknown<W: World>() {
    let world = W::new().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    world.mute(true).await;
    let messages = ["a", "b"].map(message);
    let [first, second] = &messages;
    let in_flight = [first, second];
    let (published, ()) = tokio::join!(opened.channels[0].publish(&in_flight), async {
        let mut taken = Vec::new();
        eventually("both are in the queue", async || {
            taken.extend(world.take("q").await);
            taken == ids(&messages)
        })
        .await;
        world.cut().await;
    });
    let loss = published.expect_err("a loss");
    assert_eq!(loss.blame, None, "{}", loss.error);
    let event = timeout(DEADLINE, opened.connection.event()).await;
    assert!(matches!(event, Ok(Event::Lost(_))), "{event:?}");
    opened.connection.close().await;
    world.mute(false).await;
    let mut again = None;
    eventually("the fence is free again", async || {
        again = open(&world, FENCE).await.ok();
        again.is_some()
    })
    .await;
    let mut again = again.unwrap();
    let outcomes = publish::<W>(&mut again.channels[0], &messages).await;
    assert_eq!(outcomes, vec![Outcome::Confirmed; 2]);
    again.connection.close().await;
}

pub(crate) async fn g3_a_renewed_channel_gives_no_answers_to_earlier_messages<W: World>() {
    let world = W::new().await;
    world.bind("q", "bound", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let channel = &mut opened.channels[0];
    world.mute(true).await;
    let given_up = ["unbound", "bound"].map(message);
    let [first, second] = &given_up;
    let in_flight = [first, second];
    let waiting = timeout(Duration::from_millis(200), channel.publish(&in_flight));
    assert!(waiting.await.is_err(), "answers are held back");
    world.mute(false).await;
    channel.renew().await.unwrap();
    let outcomes = publish::<W>(channel, &["bound", "unbound", "bound"].map(message)).await;
    let expected = [Outcome::Confirmed, Outcome::Unroutable, Outcome::Confirmed];
    assert_eq!(outcomes, expected);
    opened.connection.close().await;
}

pub(crate) async fn a_blocked_broker_says_so_and_takes_the_messages_later<W: World>() {
    let world = W::alone().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    assert_eq!(opened.blocked, None);
    world.block(true).await;
    let message = message("a");
    let batch = [&message];
    let mut publishing = Box::pin(opened.channels[0].publish(&batch));
    let blocked = async {
        tokio::select! {
            event = opened.connection.event() => event,
            published = &mut publishing => panic!("published: {published:?}"),
        }
    };
    let event = timeout(DEADLINE, blocked).await.expect("in time");
    assert!(matches!(event, Event::Blocked(_)), "{event:?}");
    world.block(false).await;
    let event = timeout(DEADLINE, opened.connection.event()).await;
    assert!(matches!(event, Ok(Event::Unblocked)), "{event:?}");
    let published = timeout(DEADLINE, publishing).await.expect("in time");
    assert_eq!(published.unwrap(), [Outcome::Confirmed]);
    opened.connection.close().await;
}
