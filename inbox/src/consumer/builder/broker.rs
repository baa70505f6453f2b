//! Settings of the broker connection, the exchange and the queue.

use amqp::{Address, Tls};
use outbox::HeaderValue;

use crate::{BuildError, ConsumerBuilder, QueueKind};

impl<S> ConsumerBuilder<S> {
    /// Sets the broker's URL, `amqp://user:password@host:5672/vhost` or `amqps://…`. Required.
    ///
    /// `?heartbeat=10` sets the seconds between heartbeats. Without it the server's interval is used.
    /// `?auth_mechanism=external` logs in with the client certificate of [`tls`](Self::tls).
    ///
    /// # Errors
    /// `build` returns [`BuildError::Missing`](crate::BuildError::Missing) without a URL,
    /// [`BuildError::Url`](crate::BuildError::Url) if the URL cannot be read, and
    /// [`BuildError::Plaintext`](crate::BuildError::Plaintext) if it begins with `amqp://` and leads to another machine.
    pub fn amqp_url(mut self, url: impl Into<String>) -> Self {
        self.amqp_url = Some(url.into());
        self
    }

    /// Sets the authority, the client certificate and the server's name for a URL that begins with `amqps://`. By default
    /// the system's authorities are trusted.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Tls`](crate::BuildError::Tls) if a file cannot be read, has expired or does not match
    /// another, and if the URL begins with `amqp://`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets whether a URL that begins with `amqp://` may lead to another machine. Defaults to `false`.
    ///
    /// Such a connection sends the password and all messages in clear, to anybody who answers for the broker.
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Sets the topic exchange that messages come from. Defaults to `postroom`, as in the relay.
    ///
    /// A relay or an administrator declares the exchange. Until it exists, the consumer waits for it and logs
    /// that, so services and relays may start in any order.
    pub fn exchange(mut self, name: impl Into<String>) -> Self {
        self.topology.exchange = name.into();
        self
    }

    /// Sets whether the consumer itself declares the exchange, as a durable topic exchange. Defaults to `false`.
    ///
    /// With `true` the broker's user needs the *configure* permission on the exchange. That permission also
    /// allows the user to delete the exchange, and every service's messages with it. Use it for brokers without
    /// a relay: in tests, or beside publishers that declare nothing. With `true` an exchange of another type or
    /// with other arguments ends the consumer with an error; with `false` the consumer cannot see either.
    pub fn declare_exchange(mut self, declare: bool) -> Self {
        self.topology.declare_exchange = declare;
        self
    }

    /// Sets the queue. Defaults to the consumer's name.
    ///
    /// The consumer declares the queue as durable if it does not exist.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.topology.queue = name.into();
        self
    }

    /// Sets the kind with which the queue is declared. Defaults to [`QueueKind::Quorum`].
    pub fn queue_kind(mut self, kind: QueueKind) -> Self {
        self.topology.kind = kind;
        self
    }

    /// Sets whether only one process at a time receives from the queue. Defaults to `true`.
    ///
    /// With `true` further processes of the consumer stand by, and messages of one key are handled in
    /// order. With `false` all processes share the queue's messages. Each message is still handled once,
    /// but two processes may handle two messages of one key at the same time. For several active
    /// processes with order, use [`partitions`](Self::partitions).
    pub fn single_active_consumer(mut self, single: bool) -> Self {
        self.topology.single_active_consumer = single;
        self
    }

    /// Sets an argument of the queue, for example `x-quorum-initial-group-size`. Overrides the value that
    /// the consumer itself would set for this argument.
    ///
    /// An existing queue must have the same arguments; otherwise the consumer ends with an error.
    ///
    /// # Errors
    /// `build` returns [`BuildError::DropsMessages`](crate::BuildError::DropsMessages) for arguments with
    /// which the broker drops messages that it has confirmed: a length limit without `x-overflow =
    /// reject-publish` or a dead letter exchange, `x-message-ttl` and `x-delivery-limit` without a dead
    /// letter exchange, and `x-expires`. Policies of the broker can have the same effect; the consumer
    /// cannot see them.
    pub fn queue_argument(
        mut self,
        name: impl Into<String>,
        value: impl Into<HeaderValue>,
    ) -> Self {
        self.topology.arguments.insert(name.into(), value.into());
        self
    }

    /// Sets whether a policy of the broker sets the queue's delivery limit. Defaults to `false`.
    ///
    /// Since RabbitMQ 4.0 a quorum queue drops a message after 20 redeliveries by default. On such a
    /// server this crate declares its queue with `x-delivery-limit: -1`. A queue that was created before
    /// the server was upgraded lacks the argument: give this queue a policy with `delivery-limit: -1`,
    /// and set `true` here.
    pub fn delivery_limit_by_policy(mut self, by_policy: bool) -> Self {
        self.topology.limit_by_policy = by_policy;
        self
    }

    /// Binds the queue to a further topic pattern, such as `orders.*` or `#`. The topics of the handlers
    /// are bound anyway.
    pub fn bind(mut self, pattern: impl Into<String>) -> Self {
        self.topology.bindings.insert(pattern.into());
        self
    }

    /// Sets how many unacknowledged messages the broker sends to a process in advance. Defaults to twice as
    /// many as the workers take ([`workers`](Self::workers) ×
    /// [`messages_per_transaction`](Self::messages_per_transaction)), at least 64 and at most 2,000.
    ///
    /// Messages that wait for a worker or for an earlier message of their key count as well. A number
    /// above what the workers handle within a second has no benefit.
    ///
    /// All processes of a consumer should use the same number. When a process is lost, a quorum queue
    /// puts its unacknowledged messages behind messages that were returned earlier and not yet sent
    /// again. If a process with a smaller number takes over and is lost too, messages of one key are
    /// delivered out of order (seen with RabbitMQ 3.10). So set the number explicitly if the workers of
    /// a consumer change from release to release.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for 0.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = Some(messages);
        self
    }

    /// Reads the URL, and checks that it and the settings of TLS protect the password.
    pub(super) fn address(&self) -> Result<Address, BuildError> {
        let url = self.amqp_url.as_ref();
        let url = url.ok_or_else(|| self.missing("amqp_url"))?;
        let consumer = || self.name.clone();
        let address = url.parse::<Address>();
        let address = address.map_err(|problem| BuildError::Url {
            consumer: consumer(),
            problem: problem.to_string(),
        })?;
        if address.is_exposed() && !self.allow_plaintext {
            return Err(BuildError::Plaintext {
                consumer: consumer(),
                host: address.host().to_string(),
            });
        }
        let address = address.with_tls(self.tls.clone());
        address.check_tls().map_err(|source| BuildError::Tls {
            consumer: consumer(),
            source,
        })?;
        Ok(address)
    }
}
