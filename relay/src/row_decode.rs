//! What of a row can be read.
//!
//! Anybody may write a row in SQL, and the server holds more than a message can carry: numbers of any
//! length, times without end. Such a row can never go, and must not keep the others from going.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use outbox::Headers;

use crate::pg_timestamp::PgTimestamp;

/// The version of `jsonb` that begins its binary format (PostgreSQL's `jsonb_send`).
const JSONB: u8 = 1;

/// Why a row can never be a message.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A number or a nesting that JSON has and this program has not.
    #[error("its headers cannot be read: {0}")]
    Headers(Arc<serde_json::Error>),
    /// No time that could be written on a message, or that ever comes.
    #[error("its {column} is {moment}; a message has a time of the years 1 to 9999")]
    Time {
        /// The column.
        column: &'static str,
        /// What it holds.
        moment: PgTimestamp,
    },
}

/// What was read; of what could not be, something of the kind.
#[derive(Debug)]
pub(crate) struct DecodedRow {
    pub(crate) headers: Headers,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) deliver_after: Option<DateTime<Utc>>,
    pub(crate) unreadable: Option<Unreadable>,
}

/// Reads those columns of a row in which anything may stand. `headers` is `jsonb`, as it is sent.
pub(crate) fn read(
    headers: &[u8],
    occurred_at: PgTimestamp,
    deliver_after: Option<PgTimestamp>,
) -> DecodedRow {
    let mut unreadable = None;
    let headers = read_headers(headers).unwrap_or_else(|error| {
        unreadable = Some(Unreadable::Headers(Arc::new(error)));
        Headers::new()
    });
    let column = |column, moment| Some(Unreadable::Time { column, moment });
    if occurred_at.utc().is_none() {
        unreadable = column("occurred_at", occurred_at);
    }
    // One from before the year 1 is past, whatever it is.
    if let Some(after) = deliver_after.filter(|after| after.is_too_late()) {
        unreadable = column("deliver_after", after);
    }
    DecodedRow {
        headers,
        occurred_at: occurred_at.clamped(),
        deliver_after: deliver_after.map(PgTimestamp::clamped),
        unreadable,
    }
}

fn read_headers(jsonb: &[u8]) -> serde_json::Result<Headers> {
    let json = jsonb.strip_prefix(&[JSONB]).unwrap_or(jsonb);
    Ok(match serde_json::from_slice(json)? {
        serde_json::Value::Object(object) => Headers::from_json(object),
        _ => Headers::new(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use outbox::HeaderValue;

    use super::{JSONB, read};
    use crate::pg_timestamp::tests::{INFINITY, MINUS_INFINITY, unix};

    fn jsonb(json: &str) -> Vec<u8> {
        [&[JSONB], json.as_bytes()].concat()
    }

    #[test]
    fn what_can_be_read_is() {
        let row = read(&jsonb(r#"{"a": 1}"#), unix(5), Some(unix(7)));
        assert!(row.unreadable.is_none());
        assert_eq!(row.headers.get("a"), Some(&HeaderValue::Int(1)));
        assert_eq!(row.occurred_at.timestamp_micros(), 5);
        assert_eq!(row.deliver_after.unwrap().timestamp_micros(), 7);
        let past = read(&jsonb("{}"), unix(0), Some(MINUS_INFINITY));
        assert!(past.unreadable.is_none());
        assert!(past.deliver_after < Some(DateTime::UNIX_EPOCH));
    }

    #[test]
    fn what_cannot_be_read_is_told_and_nothing_else() {
        let nested = format!("{{\"a\": {}{}}}", "[".repeat(130), "]".repeat(130));
        for (headers, says) in [
            (r#"{"a": 1e400}"#, "number out of range"),
            (&*format!("{{\"a\": {}}}", "9".repeat(65_000)), "number"),
            (&*nested, "recursion limit"),
            ("", "headers"),
        ] {
            let row = read(&jsonb(headers), unix(0), None);
            let said = row.unreadable.unwrap().to_string();
            assert!(said.contains(says) && said.len() < 200, "{said}");
        }
        for moment in [INFINITY, MINUS_INFINITY] {
            let row = read(&jsonb("{}"), moment, None);
            let said = row.unreadable.unwrap().to_string();
            assert!(said.contains("occurred_at"), "{said}");
        }
        // It is still one with a time of its own, which leaves the order of its key.
        let never = read(&jsonb("{}"), unix(0), Some(INFINITY));
        let said = never.unreadable.unwrap().to_string();
        assert!(said.contains("deliver_after is infinity"), "{said}");
        assert!(never.deliver_after.is_some());
    }
}
