//! The messages of an outbox, read as events and compared with those that a test expects.
//!
//! Messages are compared by topic, type, key and body, the body as JSON.

use std::fmt;

use outbox::{Event, EventType};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{PgPool, Row as _};

/// An expected message.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    topic: String,
    type_name: String,
    key: Option<String>,
    body: Value,
}

impl Expected {
    /// Returns the message that publishing this event writes.
    pub fn of<E: Event>(event: &E) -> Self {
        Self {
            topic: E::TOPIC.to_owned(),
            type_name: E::TYPE.to_owned(),
            key: event.key(),
            body: serde_json::to_value(event).expect("an event is JSON"),
        }
    }

    /// Number of fields that differ; messages of different topics have nothing in common.
    fn distance(&self, other: &Self) -> usize {
        let topic = if self.topic == other.topic { 0 } else { 1_000 };
        let mut differences = Vec::new();
        differ("", &self.body, &other.body, &mut differences);
        topic + usize::from(self.key != other.key) + differences.len()
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        if self.type_name != self.topic {
            write!(f, " type {}", self.type_name)?;
        }
        self.key
            .iter()
            .try_for_each(|key| write!(f, " key {key}"))?;
        write!(f, " {}", self.body)
    }
}

/// Returns the events of a type in the outbox, in the order in which they were written.
pub async fn published<E: EventType + DeserializeOwned>(pool: &PgPool) -> Vec<E> {
    let all = read(pool).await.into_iter();
    let of_type =
        all.filter(|message| (&*message.topic, &*message.type_name) == (E::TOPIC, E::TYPE));
    let events = of_type.map(|message| {
        let text = message.to_string();
        serde_json::from_value(message.body)
            .unwrap_or_else(|error| panic!("cannot read as the event's type: {error}: {text}"))
    });
    events.collect()
}

/// Asserts that each of the messages is in the outbox, as often as it is expected; others may be there too.
pub async fn assert_published(pool: &PgPool, expected: impl IntoIterator<Item = Expected>) {
    let comparison = Comparison::new(expected, read(pool).await);
    assert!(comparison.missing.is_empty(), "{comparison}");
}

/// Asserts that the outbox holds these messages, and nothing else.
pub async fn assert_nothing_else(pool: &PgPool, expected: impl IntoIterator<Item = Expected>) {
    let comparison = Comparison::new(expected, read(pool).await);
    let is_same = comparison.missing.is_empty() && comparison.unexpected.is_empty();
    assert!(is_same, "{comparison}");
}

/// Reads all messages, in the order of their positions. A body that is not JSON is read as text.
pub(crate) async fn read(pool: &PgPool) -> Vec<Expected> {
    let sql =
        "SELECT topic::text, type::text, key::text, payload FROM outbox.message ORDER BY position";
    let rows = sqlx::query(sql).fetch_all(pool).await;
    let rows = rows.expect("reading the outbox; use a login that may read it");
    let message = |row: sqlx::postgres::PgRow| {
        let body: Vec<u8> = row.get(3);
        Expected {
            topic: row.get(0),
            type_name: row.get(1),
            key: row.get(2),
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())),
        }
    };
    rows.into_iter().map(message).collect()
}

/// Expected and published messages.
struct Comparison {
    found: Vec<Expected>,
    missing: Vec<Expected>,
    unexpected: Vec<Expected>,
}

impl Comparison {
    fn new(expected: impl IntoIterator<Item = Expected>, published: Vec<Expected>) -> Self {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let mut unexpected = published;
        for message in expected {
            match unexpected.iter().position(|other| *other == message) {
                Some(index) => found.push(unexpected.remove(index)),
                None => missing.push(message),
            }
        }
        Self {
            found,
            missing,
            unexpected,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("other messages were published (- expected, + published):")?;
        for message in &self.found {
            write!(f, "\n  = {message}")?;
        }
        let mut unexpected: Vec<&Expected> = self.unexpected.iter().collect();
        for message in &self.missing {
            write!(f, "\n  - {message}")?;
            let distances = unexpected.iter().map(|other| message.distance(other));
            let nearest = distances.enumerate().min_by_key(|(_, distance)| *distance);
            let Some((index, ..)) = nearest.filter(|(_, distance)| *distance < 1_000) else {
                continue;
            };
            let other = unexpected.remove(index);
            write!(f, "\n  + {other}")?;
            f.write_str(&differences(message, other))?;
        }
        for message in unexpected {
            write!(f, "\n  + {message}")?;
        }
        Ok(())
    }
}

/// Returns one line for each difference between two messages of a topic.
fn differences(expected: &Expected, published: &Expected) -> String {
    let mut all = Vec::new();
    for (name, one, two) in [
        (
            "type",
            Some(&expected.type_name),
            Some(&published.type_name),
        ),
        ("key", expected.key.as_ref(), published.key.as_ref()),
    ] {
        if one != two {
            all.push(format!("{name}: expected {one:?}, published {two:?}"));
        }
    }
    differ("", &expected.body, &published.body, &mut all);
    let mut text = String::new();
    for line in all {
        text.push_str("\n      ");
        text.push_str(&line);
    }
    text
}

/// Adds one line for each value that differs, with its JSON pointer (RFC 6901).
fn differ(at: &str, one: &Value, two: &Value, all: &mut Vec<String>) {
    let missing = Value::Null;
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => {
            let names = one
                .keys()
                .chain(two.keys().filter(|name| !one.contains_key(*name)));
            for name in names {
                let values = [one, two].map(|object| object.get(name).unwrap_or(&missing));
                differ(&format!("{at}/{name}"), values[0], values[1], all);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (index, (one, two)) in one.iter().zip(two).enumerate() {
                differ(&format!("{at}/{index}"), one, two, all);
            }
        }
        _ if one == two => {}
        _ => all.push(format!("{at}: expected {one}, published {two}")),
    }
}
