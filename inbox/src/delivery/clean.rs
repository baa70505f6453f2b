//! Properties of a message as PostgreSQL can store them.

use std::fmt::Write as _;

use outbox::{Headers, limits::NAME_BYTES};
use postroom_message::Incoming;
use sha2::{Digest, Sha256};

/// Replaces what PostgreSQL cannot store, and empty or long names: see [`Delivery::new`].
pub(super) fn clean(mut message: Incoming) -> Incoming {
    message.message_id = message.message_id.filter(|id| !id.is_empty());
    message.key = message.key.filter(|key| !key.is_empty()).map(short_name);
    // Different values of these must stay different, so they are hashed.
    let names = [
        &mut message.message_id,
        &mut message.source,
        &mut message.key,
    ];
    for name in names.into_iter().flatten() {
        if name.contains('\0') {
            *name = digest(name);
        }
    }
    let texts = [
        &mut message.user_id,
        &mut message.type_name,
        &mut message.content_type,
        &mut message.content_encoding,
        &mut message.correlation_id,
        &mut message.causation_id,
        &mut message.reply_to,
        &mut message.in_reply_to,
        &mut message.traceparent,
        &mut message.tracestate,
    ];
    for text in texts.into_iter().flatten() {
        replace_nul(text);
    }
    replace_nul(&mut message.topic);
    if let Ok(serde_json::Value::Object(headers)) = serde_json::to_value(&message.headers) {
        let clean = headers.into_iter().map(|(mut name, mut value)| {
            replace_nul(&mut name);
            if let serde_json::Value::String(text) = &mut value {
                replace_nul(text);
            }
            (name, value)
        });
        message.headers = Headers::from_json(clean.collect());
    }
    message
}

/// Replaces a name of more than 255 bytes by its SHA-256, so that a key fits into an index entry, and an id
/// into a property of a published message. Publishers other than Postroom's may set longer names.
pub(crate) fn short_name(name: String) -> String {
    if name.len() <= NAME_BYTES {
        return name;
    }
    digest(&name)
}

/// Replaces a name that the tables cannot hold by its SHA-256, so that different names stay different: one of more than
/// 255 bytes, or with a NUL character.
pub(crate) fn storable_name(name: String) -> String {
    if name.contains('\0') {
        return digest(&name);
    }
    short_name(name)
}

fn digest(name: &str) -> String {
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(name) {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

fn replace_nul(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{FFFD}");
    }
}

#[cfg(test)]
mod tests {
    use postroom_message::Incoming;

    use crate::Delivery;

    #[test]
    fn characters_that_postgresql_cannot_store_are_replaced() {
        let mut message = Incoming::default();
        message.topic = "a\0b".into();
        message.type_name = Some("\0".into());
        let mut headers = serde_json::Map::new();
        headers.insert("x\0".into(), "y\0".into());
        headers.insert("n".into(), 1.into());
        message.headers = outbox::Headers::from_json(headers);
        let delivery = Delivery::new(message, Vec::new());
        assert_eq!(delivery.message().topic, "a\u{FFFD}b");
        assert_eq!(delivery.type_name(), "\u{FFFD}");
        let text = delivery.message().headers.text("x\u{FFFD}");
        assert_eq!(text, Some("y\u{FFFD}"));
    }

    #[test]
    fn a_key_too_long_for_an_index_is_hashed() {
        let key = |length| {
            let mut message = Incoming::default();
            message.key = Some("x".repeat(length));
            let delivery = Delivery::new(message, Vec::new());
            delivery.message().key.clone().unwrap()
        };
        assert_eq!(key(255), "x".repeat(255));
        assert_eq!(key(256).len(), 71);
        assert_ne!(key(256), key(257));
    }

    #[test]
    fn ids_that_differ_only_in_unstorable_characters_stay_different() {
        let id = |id: &str| {
            let mut message = Incoming::default();
            message.message_id = Some(id.into());
            Delivery::new(message, Vec::new())
                .message()
                .message_id
                .clone()
        };
        assert_ne!(id("a\0"), id("a\u{FFFD}"));
        assert_ne!(id("a\0"), id("b\0"));
        assert!(!id("a\0").unwrap().contains('\0'));
    }

    #[test]
    fn an_empty_id_or_key_counts_as_none() {
        let mut message = Incoming::default();
        message.message_id = Some(String::new());
        message.key = Some(String::new());
        let delivery = Delivery::new(message, Vec::new());
        assert_eq!(delivery.message().message_id, None);
        assert_eq!(delivery.message().key, None);
    }
}
