//! The suite. A behaviour that an adapter does not show is a fault of the adapter.

mod connection;
mod outcomes;

pub(crate) use connection::*;
pub(crate) use outcomes::*;

use chrono::Utc;
use outbox::Headers;
use postroom_testkit::DEADLINE;
use relay::transport::{BrokerError, Channel as _, Message, Opened, Outcome, Transport};
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
