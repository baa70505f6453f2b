//! Mapping of messages to AMQP 0-9-1, in both directions.
//!
//! | message | AMQP |
//! |---|---|
//! | topic | routing key |
//! | id | `message_id`, header `cloudEvents_id` |
//! | type | `type`, header `cloudEvents_type` |
//! | content type | `content_type` |
//! | time of writing | `timestamp` (seconds), header `cloudEvents_time` (microseconds) |
//! | source | `app_id`, header `cloudEvents_source` |
//! | the broker's user | `user_id`, which the broker verifies |
//! | key | header `cloudEvents_partitionkey` |
//! | correlation id | `correlation_id` |
//! | causation id | header `cloudEvents_causationid` |
//! | version of the body | header `cloudEvents_eventversion` |
//! | consumer of the reply | header `cloudEvents_replyto` |
//! | time until which a reply is waited for | header `cloudEvents_replyby` |
//! | id of the request that is replied to | header `cloudEvents_inreplyto` |
//! | `traceparent`, `tracestate` | headers `traceparent`, `tracestate` |
//! | slot of the key, or of the id if there is no key | header `postroom-slot` |
//! | other headers | headers of the same name |
//!
//! Others spell the headers in other ways, and send times, numbers and whole events in others: `docs/wire.md` lists
//! them.
//!
//! Messages are persistent (`delivery_mode` 2). Sources: AMQP 0-9-1, section 1.8 (basic
//! properties); CloudEvents 1.0.2, section 3, and its AMQP binding's binary mode for the header
//! names and the partitioning extension; W3C Trace Context: AMQP protocol.

mod attributes;
mod decode;
mod encode;
mod marker;
mod names;
mod structured;
mod time;
mod values;

pub use decode::{decode, read};
pub use encode::{Outgoing, Published, Uncarriable, encode};
pub use marker::marker_token;
pub(crate) use marker::{MARKER_TYPE, marker};
pub use names::SLOT;

#[cfg(test)]
mod tests;
