//! The queue that a consumer reads, its arguments and its bindings to the exchange.

use std::collections::{BTreeMap, BTreeSet};

use amqp::{Arguments, Channel, DeliveryLimit, Queue, Refusal};
use outbox::HeaderValue;

use super::{
    answer::answer,
    refusal::{BrokerError, Failure},
};
use crate::layout::Layout;

/// Name of the queue argument for the number of redeliveries after which a queue drops or dead-letters a message.
pub(crate) const DELIVERY_LIMIT: &str = "x-delivery-limit";

/// The kind of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum QueueKind {
    /// Replicated, and counts redeliveries: so a message whose handler crashes the process is recognised.
    #[default]
    Quorum,
    /// Stored on one node; does not count redeliveries.
    Classic,
}

/// Exchange, queue and bindings.
#[derive(Debug, Clone)]
pub(crate) struct Topology {
    pub(crate) exchange: String,
    /// `true` if the consumer declares the exchange itself; `false` if others do.
    pub(crate) declare_exchange: bool,
    pub(crate) queue: String,
    pub(crate) kind: QueueKind,
    pub(crate) single_active_consumer: bool,
    /// `true` if a policy at the broker disables the delivery limit.
    pub(crate) limit_by_policy: bool,
    /// Queue arguments of the user, which override those of this crate.
    pub(crate) arguments: BTreeMap<String, HeaderValue>,
    /// Exchange through which messages are sent to this consumer alone; `None` if it takes none.
    pub(crate) own_exchange: Option<String>,
    /// Routing patterns.
    pub(crate) bindings: BTreeSet<String>,
}

impl Topology {
    /// Returns `true` if the queue must be declared without a delivery limit on servers that have a default
    /// limit. On older servers the same argument would set a limit.
    pub(super) fn wants_no_delivery_limit(&self) -> bool {
        let user = self.arguments.get(DELIVERY_LIMIT);
        self.kind == QueueKind::Quorum && user.map_or(!self.limit_by_policy, is_negative)
    }

    /// Returns `true` if the queue counts redeliveries, and so overwrites a count that a publisher may have set.
    pub(super) fn counts_redeliveries(&self) -> bool {
        self.kind == QueueKind::Quorum
    }

    /// Declares the queue and binds it to the exchange, which must exist. Returns the number of subscribers that the queue
    /// serves.
    pub(super) async fn declare(
        &self,
        channel: &Channel,
        limit: DeliveryLimit,
    ) -> Result<u32, Failure> {
        let subscribers = self.declare_queue(channel, &self.queue, limit).await?;
        self.bind_topics(channel, Layout::PLAIN).await?;
        Ok(subscribers)
    }

    /// Binds the queue, which must exist, again.
    pub(super) async fn bind(&self, channel: &Channel) -> Result<(), Failure> {
        self.declare_exchange(channel).await?;
        self.bind_topics(channel, Layout::PLAIN).await
    }

    /// Declares the exchange, or checks that it exists if others declare it.
    ///
    /// The check needs no right at the broker, and compares neither the type nor the arguments.
    pub(super) async fn declare_exchange(&self, channel: &Channel) -> Result<(), Failure> {
        let declare = channel.declare_exchange(&self.exchange, !self.declare_exchange);
        let declared = answer("declaring the exchange", declare).await;
        declared.map_err(|failure| {
            let Failure::Unreachable { doing, source } = failure else {
                return failure;
            };
            let exchange = self.exchange.clone();
            match source.refusal() {
                Some(Refusal::Inequivalent) => BrokerError::Exchange { exchange, source }.into(),
                Some(Refusal::NotFound) => Failure::NoExchange { exchange, source },
                _ => Failure::Unreachable { doing, source },
            }
        })
    }

    pub(super) async fn declare_queue(
        &self,
        channel: &Channel,
        queue: &str,
        limit: DeliveryLimit,
    ) -> Result<u32, Failure> {
        let arguments = self.queue_arguments(limit);
        let declare = channel.declare_queue(queue, Queue::Durable(&arguments));
        let declared = answer("declaring the queue", declare).await;
        declared.map_err(|failure| {
            let Failure::Unreachable { doing, source } = failure else {
                return failure;
            };
            let queue = queue.to_owned();
            match source.refusal() {
                Some(Refusal::Inequivalent) => BrokerError::Queue { queue, source }.into(),
                Some(Refusal::Precondition) => BrokerError::Argument { queue, source }.into(),
                _ => Failure::Unreachable { doing, source },
            }
        })
    }

    fn queue_arguments(&self, limit: DeliveryLimit) -> Arguments {
        let kind = match self.kind {
            QueueKind::Quorum => "quorum",
            QueueKind::Classic => "classic",
        };
        let mut arguments = Arguments::from([("x-queue-type".to_owned(), kind.into())]);
        if self.single_active_consumer {
            arguments.insert("x-single-active-consumer".to_owned(), true.into());
        }
        if limit == DeliveryLimit::Default && self.wants_no_delivery_limit() {
            arguments.insert(DELIVERY_LIMIT.to_owned(), (-1).into());
        }
        let users = self.arguments.iter();
        let users = users.filter(|(name, user)| *name != DELIVERY_LIMIT || !is_negative(user));
        arguments.extend(users.map(|(name, user)| (name.clone(), user.clone())));
        arguments
    }
}

/// Returns `true` if the value of `x-delivery-limit` means "no limit".
const fn is_negative(limit: &HeaderValue) -> bool {
    matches!(limit, HeaderValue::Int(limit) if *limit < 0)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use outbox::HeaderValue;

    use super::{DELIVERY_LIMIT, DeliveryLimit, QueueKind, Topology};

    fn topology() -> Topology {
        Topology {
            exchange: "postroom".into(),
            declare_exchange: false,
            queue: "billing".into(),
            kind: QueueKind::Quorum,
            single_active_consumer: true,
            limit_by_policy: false,
            arguments: BTreeMap::new(),
            own_exchange: None,
            bindings: BTreeSet::new(),
        }
    }

    #[test]
    fn a_default_delivery_limit_is_disabled() {
        let limit = |topology: &Topology, server| {
            let arguments = topology.queue_arguments(server);
            arguments.get(DELIVERY_LIMIT).cloned()
        };
        let none = Some(HeaderValue::Int(-1));
        assert_eq!(limit(&topology(), DeliveryLimit::Default), none);
        assert_eq!(limit(&topology(), DeliveryLimit::None), None);
        let classic = Topology {
            kind: QueueKind::Classic,
            ..topology()
        };
        assert_eq!(limit(&classic, DeliveryLimit::Default), None);
        let mut own = topology();
        own.arguments
            .insert(DELIVERY_LIMIT.into(), HeaderValue::Int(50));
        let fifty = Some(HeaderValue::Int(50));
        assert_eq!(limit(&own, DeliveryLimit::Default), fifty);
        // Before RabbitMQ 4, -1 drops a message at its first redelivery.
        own.arguments
            .insert(DELIVERY_LIMIT.into(), HeaderValue::Int(-1));
        assert_eq!(limit(&own, DeliveryLimit::Default), none);
        assert_eq!(limit(&own, DeliveryLimit::None), None);
        assert!(own.wants_no_delivery_limit());
    }
}
