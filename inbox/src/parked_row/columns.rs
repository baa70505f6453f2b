//! A message as a row of `inbox.parked`, in both directions.
//!
//! Properties without a separate column are stored in `headers`, under names that the message's own headers
//! cannot have: the mapping to AMQP reserves the prefix `cloudEvents_`, and the header [`UNREADABLE`].

use amqp::UNREADABLE;
use chrono::{DateTime, SecondsFormat, Utc};
use outbox::Headers;
use postroom_message::Incoming;
use serde_json::{Map, Value};

use crate::sql::parked::MessageColumns;

const CORRELATION_ID: &str = "cloudEvents_correlationid";
const CONTENT_ENCODING: &str = "cloudEvents_contentencoding";
const CAUSATION_ID: &str = "cloudEvents_causationid";
const EVENT_VERSION: &str = "cloudEvents_eventversion";
const TIME: &str = "cloudEvents_time";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const REPLY_TO: &str = "cloudEvents_replyto";
const REPLY_BY: &str = "cloudEvents_replyby";
const IN_REPLY_TO: &str = "cloudEvents_inreplyto";
const USER_ID: &str = "cloudEvents_userid";

/// Returns the value of the column `headers`.
pub(super) fn headers(message: &Incoming) -> Value {
    let mut headers = match serde_json::to_value(&message.headers) {
        Ok(Value::Object(headers)) => headers,
        _ => Map::new(),
    };
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let time = message.occurred_at.map(text);
    let extras = [
        (
            CORRELATION_ID,
            message.correlation_id.clone().map(Value::from),
        ),
        (CAUSATION_ID, message.causation_id.clone().map(Value::from)),
        (
            CONTENT_ENCODING,
            message.content_encoding.clone().map(Value::from),
        ),
        (TRACEPARENT, message.traceparent.clone().map(Value::from)),
        (TRACESTATE, message.tracestate.clone().map(Value::from)),
        (EVENT_VERSION, message.version.map(Value::from)),
        (TIME, time.map(Value::from)),
        (REPLY_TO, message.reply_to.clone().map(Value::from)),
        (REPLY_BY, message.reply_by.map(text).map(Value::from)),
        (IN_REPLY_TO, message.in_reply_to.clone().map(Value::from)),
        (USER_ID, message.user_id.clone().map(Value::from)),
        (UNREADABLE, message.unreadable.clone().map(Value::from)),
    ];
    for (name, value) in extras {
        if let Some(value) = value {
            headers.insert(name.to_owned(), value);
        }
    }
    Value::Object(headers)
}

/// Returns the message of a row, and its body.
pub(crate) fn message(columns: MessageColumns) -> (Incoming, Vec<u8>) {
    let mut headers = match columns.headers {
        Value::Object(headers) => headers,
        _ => Map::new(),
    };
    let mut text = |name| match headers.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let mut message = Incoming::default();
    message.correlation_id = text(CORRELATION_ID);
    message.causation_id = text(CAUSATION_ID);
    message.content_encoding = text(CONTENT_ENCODING);
    message.traceparent = text(TRACEPARENT);
    message.tracestate = text(TRACESTATE);
    message.user_id = text(USER_ID);
    message.unreadable = text(UNREADABLE);
    message.reply_to = text(REPLY_TO);
    message.in_reply_to = text(IN_REPLY_TO);
    let mut time = |name| {
        let time = DateTime::parse_from_rfc3339(&text(name)?).ok()?;
        Some(time.with_timezone(&Utc))
    };
    message.occurred_at = time(TIME);
    message.reply_by = time(REPLY_BY);
    let version = headers.remove(EVENT_VERSION);
    message.version = version.and_then(|version| u32::try_from(version.as_u64()?).ok());
    message.headers = Headers::from_json(headers);
    message.message_id = columns.message_id;
    message.source = columns.source;
    message.topic = columns.topic;
    message.key = columns.key;
    message.type_name = columns.type_name;
    message.content_type = columns.content_type;
    (message, columns.payload)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use outbox::Headers;
    use postroom_message::Incoming;

    use super::{MessageColumns, headers, message};

    #[test]
    fn a_message_is_read_as_it_was_parked() {
        let mut parked = Incoming::default();
        parked.message_id = Some("id".into());
        parked.source = Some("orders".into());
        parked.topic = "orders.placed".into();
        parked.key = Some("7".into());
        parked.user_id = Some("orders_relay".into());
        parked.reply_to = Some("accounts".into());
        parked.reply_by = DateTime::from_timestamp_micros(1_800_000_001_000_000);
        parked.in_reply_to = Some("request".into());
        parked.unreadable = Some("why".into());
        parked.version = Some(2);
        parked.correlation_id = Some("c".into());
        parked.causation_id = Some("d".into());
        parked.content_encoding = Some("gzip".into());
        parked.traceparent = Some("00-a-b-01".into());
        parked.tracestate = Some("vendor=1".into());
        parked.occurred_at = DateTime::from_timestamp_micros(1_800_000_000_123_456);
        let mut user = serde_json::Map::new();
        user.insert("correlation_id".into(), "the user's own".into());
        user.insert("ratio".into(), 1.5.into());
        parked.headers = Headers::from_json(user);
        let columns = MessageColumns {
            message_id: parked.message_id.clone(),
            source: parked.source.clone(),
            topic: parked.topic.clone(),
            key: parked.key.clone(),
            type_name: None,
            content_type: None,
            headers: headers(&parked),
            payload: vec![1],
        };
        assert_eq!(message(columns), (parked, vec![1]));
    }
}
