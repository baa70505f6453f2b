//! Keys that an event does not have.

use outbox::Event;
use serde::Serialize;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed")]
struct NeitherKeyNorConsumed;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", key = customer, consumed)]
struct KeyAndConsumed {
    customer: i64,
}

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", unkeyed = true)]
struct UnkeyedWithValue;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", key = self.customer)]
struct NoField {
    customer: i64,
}

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", key = customer)]
enum Enum {
    Placed { customer: i64 },
}

#[derive(Event)]
#[event(topic = "orders.placed", unkeyed)]
union Union {
    customer: i64,
}

fn main() {}
