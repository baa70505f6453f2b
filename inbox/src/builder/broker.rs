//! Settings of the broker's side.

use outbox::HeaderValue;

use crate::{ConsumerBuilder, QueueKind};

impl ConsumerBuilder {
    /// Sets the broker's URL, `amqp://user:password@host:5672/vhost` or `amqps://…`. Required.
    ///
    /// `?heartbeat=10` sets the seconds between heartbeats; the server's are used otherwise.
    #[must_use]
    pub fn amqp_url(mut self, url: impl Into<String>) -> Self {
        self.amqp_url = Some(url.into());
        self
    }

    /// Sets the topic exchange that messages come from. Defaults to `postroom`, as in the relay.
    ///
    /// Declared durable where it does not exist.
    #[must_use]
    pub fn exchange(mut self, name: impl Into<String>) -> Self {
        self.topology.exchange = name.into();
        self
    }

    /// Sets whether the exchange is declared. Defaults to true, so that services and relays may start in
    /// any order; the broker's user needs *configure* on it then. With false it must be there: until it
    /// is, the consumer tries again.
    #[must_use]
    pub fn declare_exchange(mut self, declare: bool) -> Self {
        self.topology.declare_exchange = declare;
        self
    }

    /// Sets the queue. Defaults to the consumer's name.
    ///
    /// Declared durable where it does not exist.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.topology.queue = name.into();
        self
    }

    /// Sets the kind of the queue. Defaults to [`QueueKind::Quorum`].
    #[must_use]
    pub fn queue_kind(mut self, kind: QueueKind) -> Self {
        self.topology.kind = kind;
        self
    }

    /// Sets whether one process at a time receives from the queue. Defaults to true.
    ///
    /// Further processes of the consumer stand by, and the order of a key holds. With `false` they
    /// share the queue's messages, each is still handled once, but two messages of one key may be
    /// handled at the same time by different processes. To have several active processes and
    /// order, partition the messages by key into several queues, with a consumer each.
    #[must_use]
    pub fn single_active_consumer(mut self, single: bool) -> Self {
        self.topology.single_active_consumer = single;
        self
    }

    /// Sets an argument of the queue, for example `x-quorum-initial-group-size`. Wins over those set here.
    /// Those with which the broker drops messages that it has confirmed are refused: a length limit without
    /// `x-overflow = reject-publish`, `x-message-ttl` and `x-delivery-limit` without a dead letter exchange,
    /// `x-expires`. Policies can do the same, and are not seen from here.
    ///
    /// An existing queue must have the same arguments: the consumer ends with an error otherwise.
    #[must_use]
    pub fn queue_argument(
        mut self,
        name: impl Into<String>,
        value: impl Into<HeaderValue>,
    ) -> Self {
        self.topology.arguments.insert(name.into(), value.into());
        self
    }

    /// Leaves the delivery limit to the broker's policies. Defaults to false.
    ///
    /// From RabbitMQ 4.0 on a quorum queue drops a message after 20 redeliveries, unless it says
    /// otherwise. This crate declares its queue with `x-delivery-limit: -1` there, which a queue
    /// made before the server was upgraded does not have: give it a policy `delivery-limit: -1`
    /// and set this.
    #[must_use]
    pub fn delivery_limit_by_policy(mut self, by_policy: bool) -> Self {
        self.topology.limit_by_policy = by_policy;
        self
    }

    /// Binds the queue to a pattern too, beside the topics of the handlers: `orders.*`, `#`.
    #[must_use]
    pub fn bind(mut self, pattern: impl Into<String>) -> Self {
        self.topology.bindings.insert(pattern.into());
        self
    }

    /// Sets how many messages the broker sends ahead. Defaults to twice as many as the workers take
    /// ([`workers`](Self::workers) × [`messages_per_transaction`](Self::messages_per_transaction)),
    /// at least 64 and at most 2,000.
    ///
    /// Those that wait for a worker or for their key count. More than the workers handle within a
    /// second bring nothing.
    ///
    /// All processes of a consumer should have the same: a quorum queue puts what a lost process had
    /// not acknowledged behind what it got back before and has not sent again. If a process with a
    /// smaller number takes over, and is lost as well, messages of a key change places (seen with
    /// RabbitMQ 3.10). Set it yourself where the workers of a consumer change from release to
    /// release.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = Some(messages);
        self
    }
}
