//! G1 to G4 and G7 with a real relay process, PostgreSQL and RabbitMQ.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod arrival;
mod standby;
mod stop;

use outbox::Message;

fn message(topic: &str, key: Option<&str>, number: i64) -> Message {
    let message = Message::bytes(topic, "text/plain", number.to_string()).unwrap();
    match key {
        Some(key) => message.key(key).unwrap(),
        None => message,
    }
}
