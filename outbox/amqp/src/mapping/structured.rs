//! CloudEvents' structured mode: the body holds the attributes too (CloudEvents 1.0.2, JSON format).

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use postroom_message::{HeaderValue, Incoming};
use serde_json::{Value, value::RawValue};

use super::{attributes, time};

const JSON: &str = "application/cloudevents+json";
const ANY: &str = "application/cloudevents";
const BATCH: &str = "application/cloudevents-batch";

type Problem = String;

/// The members of an event, each as its JSON text.
type Members = BTreeMap<String, Box<RawValue>>;

/// Reads an event in structured mode: its attributes into `message`; returns its data. Any other message stays as it is.
///
/// An event that cannot be read makes the message unreadable: without its attributes it could pass for another.
pub(super) fn open(message: &mut Incoming, payload: Vec<u8>) -> Vec<u8> {
    let content_type = message.content_type.as_deref().unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    if !media_type.starts_with(ANY) || message.unreadable.is_some() {
        return payload;
    }
    let opened = if let Some(encoding) = message.foreign_encoding() {
        Err(format!("content_encoding {encoding:?} is not unpacked"))
    } else if media_type == JSON {
        read(message, &payload)
    } else if media_type.starts_with(BATCH) {
        Err("a batch of events has no one id; publish each event in a message".to_owned())
    } else {
        Err("events in structured mode are read in JSON; publish JSON, or binary mode".to_owned())
    };
    opened.unwrap_or_else(|problem| {
        let content_type = message.content_type.as_deref().unwrap_or_default();
        message.unreadable = Some(format!("content_type {content_type:?}: {problem}"));
        payload
    })
}

fn read(message: &mut Incoming, payload: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut event: Members = serde_json::from_slice(payload)
        .map_err(|error| format!("the body is no event: {error}"))?;
    let version = required(&mut event, "specversion")?;
    if !version.starts_with("1.") {
        return Err(format!("specversion {version:?} is not 1.0"));
    }
    let id = required(&mut event, "id")?;
    let source = required(&mut event, "source")?;
    let type_name = required(&mut event, "type")?;
    let key = text(&mut event, "partitionkey")?;
    if let (Some(header), Some(member)) = (&message.key, &key)
        && header != member
    {
        return Err("partitionkey and the header of that name differ".to_owned());
    }
    let content_type = text(&mut event, "datacontenttype")?;
    let is_json = content_type.as_deref().is_none_or(is_json);
    let data = data(&mut event, is_json)?;

    message.message_id.get_or_insert(id);
    message.source = Some(source);
    message.type_name.get_or_insert(type_name);
    message.key = key.or_else(|| message.key.take());
    message.content_type = content_type.or_else(|| Some("application/json".to_owned()));
    let time = optional_text(&mut event, "time").and_then(|time| time::from_text(&time));
    message.occurred_at = time.or(message.occurred_at);
    message.version = version_of(&mut event)?.or(message.version);
    let causation_id = optional_text(&mut event, "causationid");
    message.causation_id = causation_id.or_else(|| message.causation_id.take());
    let traceparent = optional_text(&mut event, "traceparent");
    message.traceparent = traceparent.or_else(|| message.traceparent.take());
    let tracestate = optional_text(&mut event, "tracestate");
    message.tracestate = tracestate.or_else(|| message.tracestate.take());
    for (name, value) in event {
        if let Some(value) = header(&value) {
            message.headers.set(attributes::extension(&name), value);
        }
    }
    Ok(data)
}

/// Takes the data of an event: JSON as it was written, a text that is no JSON, or bytes; nothing if it has no data.
fn data(event: &mut Members, is_json: bool) -> Result<Vec<u8>, Problem> {
    match (event.remove("data"), event.remove("data_base64")) {
        (Some(_), Some(_)) => Err("it has both data and data_base64".to_owned()),
        (None, None) => Ok(Vec::new()),
        (Some(data), None) if is_json => Ok(data.get().as_bytes().to_vec()),
        (Some(data), None) => Ok(match serde_json::from_str(data.get()) {
            Ok(Value::String(text)) => text.into_bytes(),
            _ => data.get().as_bytes().to_vec(),
        }),
        (None, Some(data)) => {
            let text: String = serde_json::from_str(data.get())
                .map_err(|_| "data_base64 is no text".to_owned())?;
            BASE64_STANDARD
                .decode(text)
                .map_err(|error| format!("data_base64 is not base64: {error}"))
        }
    }
}

/// Takes the version of the data: a whole number, or a text with one.
fn version_of(event: &mut Members) -> Result<Option<u32>, Problem> {
    let text = text(event, "eventversion")?.filter(|text| !text.is_empty());
    let version = text.map(|text| {
        text.parse().map_err(|_| {
            format!(
                "its eventversion {text:?} is no whole number from 0 to {}",
                u32::MAX
            )
        })
    });
    version.transpose()
}

fn required(event: &mut Members, name: &str) -> Result<String, Problem> {
    let text = text(event, name)?.filter(|text| !text.is_empty());
    text.ok_or_else(|| format!("the event has no {name}"))
}

/// Takes an attribute: a text, or a number.
fn text(event: &mut Members, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = event.remove(name) else {
        return Ok(None);
    };
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(text)) => Ok(Some(text)),
        Ok(Value::Number(number)) => Ok(Some(number.to_string())),
        _ => Err(format!("its {name} is no text")),
    }
}

fn optional_text(event: &mut Members, name: &str) -> Option<String> {
    text(event, name).ok().flatten()
}

fn header(value: &RawValue) -> Option<HeaderValue> {
    match serde_json::from_str(value.get()).ok()? {
        Value::Bool(value) => Some(value.into()),
        Value::String(text) => Some(HeaderValue::Text(text)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        }),
        _ => None,
    }
}

/// Returns `true` for media types whose data is JSON (CloudEvents 1.0.2, JSON format, section 3.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}
