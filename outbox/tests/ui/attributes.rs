//! Arguments that `#[event(…)]` does not take.

use outbox::Event;
use serde::Serialize;

#[derive(Serialize, Event)]
struct NoAttribute;

#[derive(Serialize, Event)]
#[event]
struct NoArguments;

#[derive(Serialize, Event)]
#[event(unkeyed)]
struct NoTopic;

#[derive(Serialize, Event)]
#[event(topic, unkeyed)]
struct NoValue;

#[derive(Serialize, Event)]
#[event(topic = 7, unkeyed)]
struct TopicOfAnotherType;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", topics = "orders.changed", unkeyed)]
struct Unknown;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", unkeyed)]
#[event(topic = "orders.changed")]
struct Twice;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed" unkeyed)]
struct NoComma;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", version = 0, unkeyed)]
struct VersionZero;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", version = "2", unkeyed)]
struct VersionInQuotes;

#[derive(Serialize, Event)]
#[event(topic = "orders.placed", unkeyed, crate = outbox)]
struct CrateWithoutQuotes;

fn main() {}
