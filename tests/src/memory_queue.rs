//! A queue in memory, behind the inbox's `Source`. Tests can cut its subscriptions.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use inbox::{
    Delivery, Incoming,
    source::{Receipt, Source, SourceError, Subscription},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Largest number of deliveries that are not acknowledged.
const PREFETCH: usize = 64;

/// A queue in memory; clones are the same queue. The newest subscription receives.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Messages in order of their delivery; redelivered ones first.
    ready: VecDeque<(Incoming, Vec<u8>)>,
    /// Delivered messages by their tags, of the current subscription.
    delivered: BTreeMap<u64, (Incoming, Vec<u8>)>,
    tags: u64,
    /// Number of the current subscription; an earlier one has ended.
    subscription: u64,
    /// `true` if a subscription is open.
    open: bool,
}

impl State {
    /// Ends the current subscription: unacknowledged messages come again first, in their order.
    fn end(&mut self) {
        self.open = false;
        self.subscription += 1;
        while let Some((_, (mut message, body))) = self.delivered.pop_last() {
            message.delivery_count += 1;
            self.ready.push_front((message, body));
        }
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }
}

impl MemoryQueue {
    /// Adds a message.
    pub fn push(&self, message: Incoming, body: Vec<u8>) {
        self.state
            .send_modify(|state| state.ready.push_back((message, body)));
    }

    /// Cuts the subscription, as the loss of a connection does.
    pub fn cut(&self) {
        self.state.send_modify(State::end);
    }

    /// Returns the number of messages that are not acknowledged.
    pub fn len(&self) -> usize {
        let state = self.state.borrow();
        state.ready.len() + state.delivered.len()
    }

    /// Returns `true` if every message is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` while a consumer is subscribed.
    pub fn is_subscribed(&self) -> bool {
        self.state.borrow().open
    }
}

impl Source for MemoryQueue {
    type Subscription = MemorySubscription;

    fn name(&self) -> &'static str {
        "memory"
    }

    async fn subscribe(
        &self,
        _stop: &CancellationToken,
    ) -> Result<Option<MemorySubscription>, SourceError> {
        let mut number = 0;
        self.state.send_modify(|state| {
            state.end();
            state.open = true;
            number = state.subscription;
        });
        let (sender, acknowledged) = mpsc::unbounded_channel();
        Ok(Some(MemorySubscription {
            number,
            changes: self.state.subscribe(),
            state: Arc::clone(&self.state),
            sender,
            acknowledged,
        }))
    }
}

/// A subscription to a [`MemoryQueue`].
#[derive(Debug)]
pub struct MemorySubscription {
    number: u64,
    state: Arc<watch::Sender<State>>,
    changes: watch::Receiver<State>,
    sender: mpsc::UnboundedSender<u64>,
    acknowledged: mpsc::UnboundedReceiver<u64>,
}

impl MemorySubscription {
    fn acknowledge(&self, tag: u64) {
        self.state.send_if_modified(|state| {
            state.subscription == self.number && state.delivered.remove(&tag).is_some()
        });
    }

    fn take(&self) -> Result<Option<(Delivery, Receipt)>, SourceError> {
        let mut taken = Ok(None);
        self.state.send_if_modified(|state| {
            if state.subscription != self.number {
                taken = Err(SourceError::Lost("the subscription was cut".into()));
                return false;
            }
            if state.delivered.len() >= PREFETCH {
                return false;
            }
            let Some((message, body)) = state.ready.pop_front() else {
                return false;
            };
            state.tags += 1;
            let copy = (message.clone(), body.clone());
            state.delivered.insert(state.tags, copy);
            let receipt = Receipt::new(state.tags, self.sender.clone());
            taken = Ok(Some((Delivery::new(message, body), receipt)));
            false
        });
        taken
    }
}

impl Subscription for MemorySubscription {
    async fn next(&mut self) -> Result<(Delivery, Receipt), SourceError> {
        loop {
            self.changes.mark_unchanged();
            if let Some(taken) = self.take()? {
                return Ok(taken);
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    changed.map_err(|error| SourceError::Lost(error.into()))?;
                }
                Some(tag) = self.acknowledged.recv() => self.acknowledge(tag),
            }
        }
    }

    async fn close(mut self) {
        self.acknowledged.close();
        while let Ok(tag) = self.acknowledged.try_recv() {
            self.acknowledge(tag);
        }
        self.state.send_if_modified(|state| {
            let current = state.subscription == self.number;
            if current {
                state.end();
            }
            current
        });
    }
}
