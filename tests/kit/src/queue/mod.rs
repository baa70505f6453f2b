//! A queue in memory with faults, which a consumer reads in place of RabbitMQ's.

mod state;
mod subscription;

use std::sync::Arc;

use inbox::{
    Delivery,
    source::{Source, SourceError},
};
use outbox::Event;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use state::State;
pub use subscription::TestSubscription;

/// A queue in memory, for [`Consumer::run_over`](inbox::Consumer::run_over). Clones are the same queue; the newest
/// subscription receives.
///
/// The faults are those that RabbitMQ and the network produce: duplicates, delays, another order across keys, lost
/// connections and lost acknowledgements. Messages of one key always keep their order.
///
/// ```no_run
/// # use serde::Serialize;
/// # #[derive(Serialize)]
/// # struct OrderPlaced { order: i64 }
/// # impl outbox::Event for OrderPlaced {
/// #     const TOPIC: &'static str = "orders.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # async fn example(consumer: inbox::Consumer) {
/// use postroom_testkit::{TestQueue, eventually};
///
/// let queue = TestQueue::default();
/// queue.push_event(&OrderPlaced { order: 7 });
/// queue.duplicate();
/// queue.lose_acknowledgements(1);
/// let handled = eventually("the order is handled", async || queue.is_empty());
/// consumer.run_over(queue.clone(), handled).await.unwrap();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestQueue {
    state: Arc<watch::Sender<State>>,
}

impl Default for TestQueue {
    fn default() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }
}

impl TestQueue {
    /// Adds an event with a fresh id.
    pub fn push_event<E: Event>(&self, event: &E) {
        self.push(Delivery::of(event).expect("the event can be published"));
    }

    /// Adds a delivery.
    pub fn push(&self, delivery: Delivery) {
        self.state.send_modify(|state| state.push(delivery));
    }

    /// Adds a copy of each message that is not acknowledged, behind all messages.
    pub fn duplicate(&self) {
        self.state.send_modify(State::duplicate);
    }

    /// Delays the messages of a key until [`TestQueue::release`].
    pub fn hold(&self, key: &str) {
        self.state.send_modify(|state| state.hold(key));
    }

    /// Ends the delay of a key.
    pub fn release(&self, key: &str) {
        self.state.send_modify(|state| state.release(key));
    }

    /// Mixes the messages of different keys that are not delivered yet; the same seed gives the same order.
    pub fn shuffle(&self, seed: u64) {
        self.state.send_modify(|state| state.shuffle(seed));
    }

    /// Cuts the subscription, as the loss of a connection does: all messages that are not acknowledged come again.
    pub fn cut(&self) {
        self.state.send_modify(State::end);
    }

    /// Loses the next acknowledgements, and cuts the subscription with each: the handler's work is committed, and the
    /// message comes again, as if the process was killed after the commit.
    pub fn lose_acknowledgements(&self, count: usize) {
        self.state
            .send_modify(|state| state.lose_acknowledgements(count));
    }

    /// Returns the number of messages that are not acknowledged.
    pub fn len(&self) -> usize {
        self.state.borrow().unacknowledged().count()
    }

    /// Returns `true` if every message is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` while a consumer is subscribed.
    pub fn is_subscribed(&self) -> bool {
        self.state.borrow().is_open()
    }
}

impl Source for TestQueue {
    type Subscription = TestSubscription;

    fn name(&self) -> &'static str {
        "test"
    }

    async fn subscribe(
        &self,
        _stop: &CancellationToken,
    ) -> Result<Option<TestSubscription>, SourceError> {
        let mut number = 0;
        self.state.send_modify(|state| number = state.subscribe());
        let (sender, acknowledged) = mpsc::unbounded_channel();
        let state = Arc::clone(&self.state);
        let subscription = TestSubscription::new(number, state, sender, acknowledged);
        Ok(Some(subscription))
    }
}
