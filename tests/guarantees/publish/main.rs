//! Publishing with the library, down to what arrives at the broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agreement;
mod begin;
mod context;
mod headers;
mod keys;
mod pool;
mod refused;
mod statements;
mod wire;

use lapin::{BasicProperties, Channel, options::BasicGetOptions, types::AMQPValue};
use postroom_testkit::{eventually, short};

/// The next message of a queue, read with nothing of Postroom.
async fn take(channel: &Channel, queue: &str) -> (BasicProperties, Vec<u8>) {
    let mut taken = None;
    eventually(&format!("a message arrives in {queue}"), async || {
        let options = BasicGetOptions { no_ack: true };
        taken = channel.basic_get(short(queue), options).await.unwrap();
        taken.is_some()
    })
    .await;
    let delivery = taken.unwrap().delivery;
    (delivery.properties, delivery.data)
}

/// A header that is a text.
fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}
