//! The headers that hold CloudEvents attributes, in each spelling that publishers use.

use lapin::types::{AMQPValue, FieldTable};
use postroom_message::Headers;

use super::{names, values};
use crate::UNREADABLE;

/// Attributes that a message is read from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute {
    Id,
    Source,
    Type,
    Time,
    PartitionKey,
    CausationId,
    EventVersion,
    Traceparent,
    Tracestate,
    DataContentType,
    ReplyTo,
    ReplyBy,
    InReplyTo,
}

/// The names of the attributes, by their numbers, and of the one that says no more than that the message is an event.
const NAMES: [&str; 14] = [
    "id",
    "source",
    "type",
    "time",
    "partitionkey",
    "causationid",
    "eventversion",
    "traceparent",
    "tracestate",
    "datacontenttype",
    "replyto",
    "replyby",
    "inreplyto",
    "specversion",
];

/// Prefixes of attributes: the two of CloudEvents' AMQP binding, and those of its bindings to RabbitMQ and HTTP, and to
/// Kafka.
const PREFIXES: [&str; 4] = [names::PREFIX, names::COLON, "ce-", "ce_"];

/// Prefixes that belong to CloudEvents in any message. The others begin names of other headers too.
const OWN_PREFIXES: [bool; PREFIXES.len()] = [true, true, false, false];

/// Headers that hold no attribute and are no user's.
const OWN: [&str; 5] = [
    names::TRACEPARENT,
    names::TRACESTATE,
    names::DELIVERY_COUNT,
    names::SLOT,
    UNREADABLE,
];

type Header<'a> = (&'a str, &'a AMQPValue);

/// The attributes of a message, and its other headers.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    /// The headers of each attribute, by prefix.
    found: [[Option<Header<'a>>; PREFIXES.len()]; NAMES.len()],
    /// Problem of the first unreadable attribute; `None` if all were readable.
    pub(super) unreadable: Option<String>,
}

impl<'a> Attributes<'a> {
    /// Sorts the headers of a message; returns the user's headers too.
    pub(super) fn read(table: &'a FieldTable) -> (Self, Headers) {
        let prefixes = prefixes_of(table);
        let mut attributes = Self {
            found: [[None; PREFIXES.len()]; NAMES.len()],
            unreadable: table.inner().get(UNREADABLE).and_then(values::lossy_text),
        };
        let mut headers = Headers::new();
        for (name, value) in table.inner() {
            let name = name.as_str();
            if OWN.contains(&name) {
                continue;
            }
            let Some((prefix, attribute)) = split(name, prefixes) else {
                if let Some(value) = values::header(value) {
                    headers.set(name, value);
                }
                continue;
            };
            let mut known = NAMES.iter();
            if let Some(number) = known.position(|known| known.eq_ignore_ascii_case(attribute)) {
                attributes.found[number][prefix] = Some((name, value));
            } else if let Some(value) = values::header(value) {
                headers.set(extension(attribute), value);
            }
        }
        (attributes, headers)
    }

    /// Returns an attribute that identifies or orders the message, or chooses its handler.
    ///
    /// A value without a text makes the message unreadable: if the attribute were ignored, the message could pass
    /// for another, or overtake an earlier one of its key. So do two headers with different values.
    pub(super) fn text(&mut self, attribute: Attribute) -> Option<String> {
        let mut read: Option<(&str, String)> = None;
        for (name, value) in self.found[attribute as usize].into_iter().flatten() {
            let problem = match (values::text(value), &read) {
                (Ok(None), _) => continue,
                (Ok(Some(text)), None) => {
                    read = Some((name, text));
                    continue;
                }
                (Ok(Some(text)), Some((_, first))) if text == *first => continue,
                (Ok(Some(_)), Some((first, _))) => {
                    format!("headers {first:?} and {name:?} differ")
                }
                (Err(problem), _) => format!("header {name:?} {problem}"),
            };
            self.unreadable.get_or_insert(problem);
        }
        read.map(|(_, text)| text)
    }

    /// Returns an attribute; `None` also if it has no text.
    pub(super) fn optional_text(&self, attribute: Attribute) -> Option<String> {
        values::text(self.value(attribute)?).ok().flatten()
    }

    /// Returns the version of the body.
    ///
    /// A value that is no version makes the message unreadable: the body could be read as one of another version.
    pub(super) fn version(&mut self) -> Option<u32> {
        let found = self.found[Attribute::EventVersion as usize].iter();
        let (name, value) = found.flatten().next()?;
        let is_none = matches!(values::text(value), Ok(None))
            || values::lossy_text(value).is_some_and(|text| text.is_empty());
        let version = values::whole(value).and_then(|version| u32::try_from(version).ok());
        if version.is_none() && !is_none {
            let problem = format!(
                "header {name:?} is no version: a whole number from 0 to {}",
                u32::MAX
            );
            self.unreadable.get_or_insert(problem);
        }
        version
    }

    /// Returns the value of an attribute's first header.
    pub(super) fn value(&self, attribute: Attribute) -> Option<&'a AMQPValue> {
        let mut found = self.found[attribute as usize].iter().flatten();
        found.next().map(|(_, value)| *value)
    }
}

/// Returns, for each prefix, `true` if it marks attributes in this message: a prefix of another binding does so only if
/// the attribute that every event has stands behind it, and no header has a prefix of the AMQP bindings.
fn prefixes_of(table: &FieldTable) -> [bool; PREFIXES.len()] {
    let mut names = table.inner().keys();
    if names.any(|name| split(name.as_str(), OWN_PREFIXES).is_some()) {
        return OWN_PREFIXES;
    }
    PREFIXES.map(|prefix| {
        let mut names = table.inner().keys();
        names.any(|name| {
            let name = strip_prefix(name.as_str(), prefix);
            name.is_some_and(|name| name.eq_ignore_ascii_case("specversion"))
        })
    })
}

/// Returns the header under which a handler finds an attribute that Postroom does not read.
pub(super) fn extension(attribute: &str) -> String {
    format!("{}{}", names::COLON, attribute.to_ascii_lowercase())
}

/// Splits a header's name into the number of its prefix and the name of an attribute.
fn split(name: &str, prefixes: [bool; PREFIXES.len()]) -> Option<(usize, &str)> {
    let mut possible = PREFIXES.iter().zip(prefixes).enumerate();
    possible.find_map(|(number, (prefix, is_used))| {
        let attribute = strip_prefix(name, prefix).filter(|_| is_used)?;
        Some((number, attribute))
    })
}

/// Removes a prefix; names of HTTP headers may be capitalised.
fn strip_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (beginning, rest) = name.split_at_checked(prefix.len())?;
    beginning.eq_ignore_ascii_case(prefix).then_some(rest)
}
