//! A message as a consumer receives it.

use chrono::{DateTime, Utc};

use crate::Headers;

/// A received message without its body.
///
/// Every field but the topic may be missing, because any program can publish to a queue.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Incoming {
    /// Id of the message, unique within its source; a UUID version 7 is unique across all sources.
    pub message_id: Option<String>,
    /// Name of the service that published the message.
    pub source: Option<String>,
    /// The broker's user that published the message, as the broker verified it; `None` if the publisher set none.
    /// Source, key and type are the publisher's claims.
    pub user_id: Option<String>,
    /// Routing key.
    pub topic: String,
    /// Ordering key; `None` if unordered.
    pub key: Option<String>,
    /// Type of the body.
    pub type_name: Option<String>,
    /// Version of the body's shape; `None` if the publisher set none.
    pub version: Option<u32>,
    /// Content type of the body.
    pub content_type: Option<String>,
    /// Encoding of the body; `None` if the publisher set none.
    pub content_encoding: Option<String>,
    /// Id shared by all messages of one business process.
    pub correlation_id: Option<String>,
    /// Id of the message that caused this one.
    pub causation_id: Option<String>,
    /// Consumer to which the reply is sent; `None` if the message is no request.
    pub reply_to: Option<String>,
    /// Time until which the requester waits for the reply, by the requester's clock.
    pub reply_by: Option<DateTime<Utc>>,
    /// Id of the request that the message replies to; `None` if the message is no reply.
    pub in_reply_to: Option<String>,
    /// Trace and span of the publisher.
    pub traceparent: Option<String>,
    /// State of the publisher's trace.
    pub tracestate: Option<String>,
    /// Time of writing by the clock of the publisher's database.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Other headers. Values other than texts, numbers and booleans are left out.
    pub headers: Headers,
    /// Number of earlier deliveries; 0 if the queue does not count them.
    pub delivery_count: u64,
    /// Reason why the message cannot be handled as it was sent, such as a property that is not UTF-8 or a
    /// header that is nested too deeply; `None` if the message is readable. The other fields hold all that
    /// could be read.
    pub unreadable: Option<String>,
}

/// Values of `content_encoding` that leave a body as it is: HTTP's for none, MIME's, and the names of character sets
/// that kombu sends, whose texts are UTF-8 too.
const PLAIN_ENCODINGS: [&str; 9] = [
    "", "identity", "7bit", "8bit", "binary", "ascii", "us-ascii", "utf8", "utf-8",
];

impl Incoming {
    /// Returns the encoding of a body that has to be unpacked or converted before it can be read, such as `gzip`; `None`
    /// if the body can be read as it is.
    pub fn foreign_encoding(&self) -> Option<&str> {
        let encoding = self.content_encoding.as_deref()?.trim();
        let mut plain = PLAIN_ENCODINGS.iter();
        let is_plain = plain.any(|plain| plain.eq_ignore_ascii_case(encoding));
        (!is_plain).then_some(encoding)
    }
}
