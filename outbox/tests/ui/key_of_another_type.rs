//! Keys that the compiler cannot make.

use outbox::Event;
use serde::Serialize;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", key = custmer)]
struct MisspeltField {
    customer: i64,
}

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", key = customer)]
struct NotText {
    customer: Vec<u8>,
}

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", key = customer)]
struct NoTextInOption {
    customer: Option<Vec<u8>>,
}

fn main() {}
