//! Events of the connection to the broker.

use std::time::Duration;

use metrics::counter;
use tracing::{debug, info, warn};

/// The consumer is connected and subscribed to its queue.
pub(crate) struct Connected<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) queue: &'a str,
}

impl Connected<'_> {
    pub(crate) fn emit(self) {
        info!(
            consumer = self.consumer,
            queue = self.queue,
            "connected to the queue; messages come while no other process of this consumer is served"
        );
        counter!("postroom_inbox_connected_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The connection to the broker was lost, or could not be made.
pub(crate) struct Disconnected<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a str,
    pub(crate) retry_in: Duration,
}

impl Disconnected<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            error = self.error,
            retry_in = ?self.retry_in,
            "not connected to the broker; trying again"
        );
        counter!("postroom_inbox_disconnected_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The exchange does not exist yet; the consumer waits for it.
pub(crate) struct NoExchange<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) exchange: &'a str,
}

impl NoExchange<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            exchange = self.exchange,
            "the exchange does not exist, and messages cannot come; waiting until a relay that declares it \
             is started, or an administrator declares it (topic, durable)"
        );
        counter!("postroom_inbox_no_exchange_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The periodic renewal of the queue's bindings failed, so topics may be unbound.
pub(crate) struct NotBound<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a str,
}

impl NotBound<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            error = self.error,
            "the queue could not be bound again; messages may not come"
        );
        counter!("postroom_inbox_not_bound_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// A handled delivery could not be acknowledged. The broker redelivers it, as a duplicate.
pub(crate) struct Unacknowledged<'a> {
    pub(crate) consumer: &'a str,
}

impl Unacknowledged<'_> {
    pub(crate) fn emit(self) {
        debug!("not acknowledged; it comes again as a duplicate");
        counter!("postroom_inbox_unacknowledged_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}
