//! Names of the headers that Postroom sets.

/// Prefix of CloudEvents attributes (AMQP binding, section 3.1.3).
pub(super) const PREFIX: &str = "cloudEvents_";

/// The other prefix of the binding.
pub(super) const COLON: &str = "cloudEvents:";

pub(super) const SPEC_VERSION: &str = "cloudEvents_specversion";
pub(super) const ID: &str = "cloudEvents_id";
pub(super) const SOURCE: &str = "cloudEvents_source";
pub(super) const TYPE: &str = "cloudEvents_type";
pub(super) const TIME: &str = "cloudEvents_time";
pub(super) const PARTITION_KEY: &str = "cloudEvents_partitionkey";
pub(super) const CAUSATION_ID: &str = "cloudEvents_causationid";
pub(super) const EVENT_VERSION: &str = "cloudEvents_eventversion";
pub(super) const REPLY_TO: &str = "cloudEvents_replyto";
pub(super) const REPLY_BY: &str = "cloudEvents_replyby";
pub(super) const IN_REPLY_TO: &str = "cloudEvents_inreplyto";
pub(super) const TRACEPARENT: &str = "traceparent";
pub(super) const TRACESTATE: &str = "tracestate";

/// Number of redeliveries, counted by quorum queues (RabbitMQ documentation, "Quorum Queues").
pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";

/// Header with the slot of a message, a number from 0 to 63 in decimal digits.
pub const SLOT: &str = "postroom-slot";

/// Header with the token of a marker.
pub(super) const MARKER: &str = "postroom-marker";
