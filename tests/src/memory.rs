//! A message broker in memory, behind the relay's `Transport`. Tests can fill, block, mute and cut it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use relay::transport::{
    BrokerError, Channel, Connection, Event, Loss, Message, Opened, Outcome, Transport,
};
use relay_core::publish::TopicPatterns;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest routing key, as in AMQP.
const LONGEST_TOPIC: usize = 255;

/// A broker in memory; clones are the same broker.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    state: Arc<watch::Sender<State>>,
    /// Number of channels of each connection.
    channels: usize,
    /// Size of a message over which the broker closes the channel.
    too_large: usize,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<String, Queue>,
    /// Open connections, numbered in the order of opening.
    open: HashSet<usize>,
    opened: usize,
    /// Holders of the fences.
    fences: HashMap<String, usize>,
    /// Reason for which no messages are taken.
    blocked: Option<String>,
    /// `true` while answers are held back.
    mute: bool,
}

#[derive(Debug)]
struct Queue {
    patterns: TopicPatterns,
    room: usize,
    messages: Vec<Message>,
}

impl MemoryBroker {
    /// Makes a broker whose connections have some channels.
    pub fn new(channels: usize) -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            channels,
            too_large: 16 * 1024,
        }
    }

    /// Makes a queue with room for some messages, bound to a pattern of topics. A full queue refuses messages.
    pub fn bind(&self, queue: &str, pattern: &str, room: usize) {
        let queue = (
            queue.to_owned(),
            Queue {
                patterns: TopicPatterns::new(vec![pattern.to_owned()]),
                room,
                messages: Vec::new(),
            },
        );
        self.state.send_modify(|state| state.queues.extend([queue]));
    }

    /// Takes all messages out of a queue.
    pub fn take(&self, queue: &str) -> Vec<Message> {
        let mut taken = Vec::new();
        self.state.send_modify(|state| {
            if let Some(queue) = state.queues.get_mut(queue) {
                taken = std::mem::take(&mut queue.messages);
            }
        });
        taken
    }

    /// Takes no messages for a reason, or takes messages again.
    pub fn block(&self, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        self.state.send_modify(|state| state.blocked = reason);
    }

    /// Holds back answers, or gives those held back.
    pub fn mute(&self, mute: bool) {
        self.state.send_modify(|state| state.mute = mute);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.open.clear();
            state.fences.clear();
        });
    }

    /// Waits until a condition holds; returns `false` if the connection ends before.
    async fn wait(&self, connection: usize, holds: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state.subscribe();
        let ready = |state: &State| !state.open.contains(&connection) || holds(state);
        let state = state.wait_for(ready).await;
        state.is_ok_and(|state| state.open.contains(&connection))
    }
}

impl State {
    fn open(&mut self, fence: &str) -> Result<usize, BrokerError> {
        if self.fences.contains_key(fence) {
            let queue = fence.to_owned();
            return Err(BrokerError::Fenced { queue });
        }
        self.opened += 1;
        self.open.insert(self.opened);
        self.fences.insert(fence.to_owned(), self.opened);
        Ok(self.opened)
    }

    fn close(&mut self, connection: usize) {
        self.open.remove(&connection);
        self.fences.retain(|_, holder| *holder != connection);
    }

    fn publish(&mut self, message: &Message) -> Outcome {
        if message.topic.len() > LONGEST_TOPIC {
            return Outcome::Rejected("the topic is too long".to_owned());
        }
        let queues = self.queues.values_mut();
        let mut outcome = Outcome::Unroutable;
        for queue in queues.filter(|queue| queue.patterns.matches(&message.topic)) {
            if queue.messages.len() >= queue.room {
                outcome = Outcome::Nacked;
                continue;
            }
            queue.messages.push(message.clone());
            if outcome == Outcome::Unroutable {
                outcome = Outcome::Confirmed;
            }
        }
        outcome
    }
}

impl Transport for MemoryBroker {
    type Connection = MemoryConnection;
    type Channel = MemoryChannel;

    async fn open(
        &self,
        fence: &str,
        stop: &CancellationToken,
    ) -> Option<Result<Opened<Self>, BrokerError>> {
        if stop.is_cancelled() {
            return None;
        }
        let mut number = Err(BrokerError::Closed);
        self.state.send_modify(|state| number = state.open(fence));
        Some(number.map(|number| {
            let blocked = self.state.borrow().blocked.clone();
            let channel = |_| MemoryChannel {
                broker: self.clone(),
                connection: number,
                in_flight: false,
            };
            Opened {
                connection: MemoryConnection {
                    broker: self.clone(),
                    number,
                    is_blocked: blocked.is_some(),
                },
                channels: (0..self.channels).map(channel).collect(),
                blocked,
            }
        }))
    }

    async fn check(&self, _fence: &str) -> Result<(), BrokerError> {
        Ok(())
    }
}

/// A connection to a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemoryConnection {
    broker: MemoryBroker,
    number: usize,
    /// `true` if the last event was [`Event::Blocked`].
    is_blocked: bool,
}

impl Connection for MemoryConnection {
    async fn event(&mut self) -> Event {
        let was_blocked = self.is_blocked;
        let changed = |state: &State| state.blocked.is_some() != was_blocked;
        if !self.broker.wait(self.number, changed).await {
            return Event::Lost(BrokerError::Closed);
        }
        self.is_blocked = !was_blocked;
        match self.broker.state.borrow().blocked.clone() {
            Some(reason) => Event::Blocked(reason),
            None => Event::Unblocked,
        }
    }

    async fn close(self) {
        self.broker
            .state
            .send_modify(|state| state.close(self.number));
    }
}

/// A channel to a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemoryChannel {
    broker: MemoryBroker,
    connection: usize,
    /// `true` while a batch is in flight, also after its call was cancelled.
    in_flight: bool,
}

impl Channel for MemoryChannel {
    async fn publish(&mut self, messages: &[&Message]) -> Result<Vec<Outcome>, Loss> {
        assert!(!self.in_flight, "a batch is in flight: renew the channel");
        self.in_flight = true;
        let lost = |blame| Loss {
            error: BrokerError::Closed,
            blame,
        };
        let broker = self.broker.clone();
        if !broker.wait(self.connection, |s| s.blocked.is_none()).await {
            return Err(lost(None));
        }
        let too_large = messages.iter().find(|m| m.bytes() > broker.too_large);
        if let Some(message) = too_large {
            let blame = format!("{} bytes are too many", message.bytes());
            return Err(lost(Some(blame)));
        }
        let mut outcomes = Vec::with_capacity(messages.len());
        broker.state.send_modify(|state| {
            outcomes.extend(messages.iter().map(|message| state.publish(message)));
        });
        if !broker.wait(self.connection, |state| !state.mute).await {
            return Err(lost(None));
        }
        self.in_flight = false;
        Ok(outcomes)
    }

    async fn renew(&mut self) -> Result<(), BrokerError> {
        if !self.broker.wait(self.connection, |_| true).await {
            return Err(BrokerError::Closed);
        }
        self.in_flight = false;
        Ok(())
    }
}
