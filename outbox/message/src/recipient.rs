//! The exchange through which a consumer receives what is sent to it alone: commands and replies.
//!
//! A message to one consumer stands in the outbox under the exchange's name as its topic. So whoever knows nothing of
//! such messages, as a relay of an earlier release, finds no queue for them and keeps them.

/// Beginning of the names of these exchanges.
pub const PREFIX: &str = "postroom.in.";

/// Returns the name of a consumer's exchange.
pub fn exchange(consumer: &str) -> String {
    format!("{PREFIX}{consumer}")
}

/// Returns `true` if messages of a topic are sent to one consumer: the topic is the name of its exchange.
pub fn is_exchange(topic: &str) -> bool {
    topic.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::{exchange, is_exchange};

    #[test]
    fn a_message_to_a_consumer_is_known_by_its_topic() {
        assert!(is_exchange(&exchange("billing")));
        assert!(!is_exchange("orders.placed"));
    }
}
