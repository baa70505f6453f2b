//! Markers: messages with which a consumer marks the end of a queue that receives no more messages.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use postroom_message::{Incoming, Slot};
use uuid::Uuid;

use super::{encode::PERSISTENT, names};

/// Type and routing key of markers.
pub(crate) const MARKER_TYPE: &str = "postroom.marker";

/// Returns the properties of a marker for the queue of a slot.
pub(crate) fn marker(slot: Slot, token: Uuid) -> BasicProperties {
    let text = |text: String| AMQPValue::LongString(LongString::from(text));
    let mut headers = FieldTable::default();
    headers.insert(names::SLOT.into(), text(slot.number().to_string()));
    headers.insert(names::MARKER.into(), text(token.to_string()));
    BasicProperties::default()
        .with_message_id(ShortString::from(token.to_string()))
        .with_type(ShortString::from(MARKER_TYPE))
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}

/// Returns the token of a marker; `None` if the message is none. Any publisher may send a message that looks like a
/// marker: only the token shows that the marker is true.
pub fn marker_token(message: &Incoming) -> Option<Uuid> {
    message.headers.text(names::MARKER)?.parse().ok()
}
