//! Reads the server's product and version from its greeting, which the client does not expose.
//!
//! Since RabbitMQ 4.0, a quorum queue drops a message after 20 redeliveries unless the queue has the argument
//! `x-delivery-limit: -1`. In earlier versions, this argument makes the queue drop a message at its first redelivery.

use std::sync::{Arc, OnceLock};

/// Server's default limit on redeliveries of a message in a quorum queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryLimit {
    /// No limit, unless the queue sets one.
    None,
    /// A limit, unless the queue disables it.
    Default,
}

/// The server's greeting, filled in when it arrives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Greeting(Arc<OnceLock<DeliveryLimit>>);

impl Greeting {
    /// Stores the delivery limit from the payload of `connection.start`, which the server sends once per connection.
    pub(crate) fn received(&self, start: &[u8]) {
        let _ = self.0.set(delivery_limit(start));
    }

    pub(crate) fn delivery_limit(&self) -> DeliveryLimit {
        self.0.get().copied().unwrap_or(DeliveryLimit::None)
    }
}

/// Reads `connection.start` (section 1.4.2.1), whose server properties name product and version.
fn delivery_limit(greeting: &[u8]) -> DeliveryLimit {
    let is_rabbitmq = property(greeting, "product").is_some_and(|name| name == b"RabbitMQ");
    let major = property(greeting, "version")
        .and_then(|version| version.split(|byte| *byte == b'.').next())
        .and_then(|major| std::str::from_utf8(major).ok())
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if is_rabbitmq && major >= 4 => DeliveryLimit::Default,
        _ => DeliveryLimit::None,
    }
}

/// Finds a long string of a field table: the name's length, the name, `S`, the value's length.
fn property<'a>(table: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut field = vec![name.len() as u8];
    field.extend_from_slice(name.as_bytes());
    field.push(b'S');
    let at = table
        .windows(field.len())
        .position(|window| window == field)?;
    let (length, rest) = table[at + field.len()..].split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::{DeliveryLimit, delivery_limit};

    fn greeting(product: &str, version: &str) -> Vec<u8> {
        let mut bytes =
            b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x01\xd8\x08platformS\x00\x00\x00\x06Erlang".to_vec();
        for (name, value) in [("product", product), ("version", version)] {
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b'S');
            bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    }

    #[test]
    fn rabbitmq_has_a_default_limit_since_4() {
        assert_eq!(
            delivery_limit(&greeting("RabbitMQ", "3.10.8")),
            DeliveryLimit::None
        );
        assert_eq!(
            delivery_limit(&greeting("RabbitMQ", "4.0.1")),
            DeliveryLimit::Default
        );
        assert_eq!(
            delivery_limit(&greeting("RabbitMQ", "10.2")),
            DeliveryLimit::Default
        );
        assert_eq!(
            delivery_limit(&greeting("LavinMQ", "5.0")),
            DeliveryLimit::None
        );
    }

    #[test]
    fn a_broken_greeting_is_no_rabbitmq() {
        let whole = greeting("RabbitMQ", "4.0.1");
        for end in 0..whole.len() {
            let cut = delivery_limit(&whole[..end]);
            assert!(cut == DeliveryLimit::None || end + 5 > whole.len());
        }
    }
}
