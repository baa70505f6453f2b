//! A type that is only consumed, or that is not serialised, is published.

use outbox::{Event, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "orders.placed", consumed)]
struct Consumed {
    order: i64,
}

#[derive(Deserialize, Event)]
#[event(topic = "orders.placed", key = order)]
struct WithoutSerialize {
    order: i64,
}

struct NoEvent {
    order: i64,
}

fn main() {
    let _ = Message::event(&Consumed { order: 1 });
    let _ = Message::event(&NoEvent { order: 1 });
}
