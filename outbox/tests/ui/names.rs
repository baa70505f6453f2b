//! Topics and types that a message could not have.

use outbox::Event;
use serde::{Deserialize, Serialize};

const ALL: &str = "orders.#";

const LONG: &str = concat!(
    "orders.that.were.placed.by.customers.who.live.in.a.place.whose.name.is.as.long.as.this.one,",
    "orders.that.were.placed.by.customers.who.live.in.a.place.whose.name.is.as.long.as.this.one,",
    "orders.that.were.placed.by.customers.who.live.in.a.place.whose.name.is.as.long.as.this.one",
);

#[derive(Serialize, Event)]
#[event(topic = "orders.*", unkeyed)]
struct Wildcard;

#[derive(Deserialize, Event)]
#[event(topic = ALL, consumed)]
struct WildcardInConstant;

#[derive(Serialize, Event)]
#[event(topic = "", unkeyed)]
struct Empty;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", type = "Order\nplaced", unkeyed)]
struct ControlCharacter;

#[derive(Serialize, Event)]
#[event(topic = LONG, unkeyed)]
struct TooLong;

fn main() {}
