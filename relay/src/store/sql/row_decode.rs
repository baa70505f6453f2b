//! Decoding of the columns of a row that may hold values which no message can carry.
//!
//! Any SQL client may write a row, and the server stores more than a message can carry, such as numbers of
//! any length and infinite times. Such a row can never be published, and must not stop other rows.

use chrono::{DateTime, Utc};
use outbox::Headers;

use crate::store::PgTimestamp;

/// Version byte at the start of the binary format of `jsonb` (PostgreSQL's `jsonb_send`).
const JSONB: u8 = 1;

/// Reason why a row can never become a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The headers hold a number or a nesting that JSON allows and the parser does not.
    #[error("its headers cannot be read: {0}")]
    Headers(serde_json::Error),
    /// The message is never due.
    #[error("its deliver_after is {0}; a message has a time of the years 1 to 9999")]
    DeliverAfter(PgTimestamp),
}

/// Decoded columns of a row. Unreadable values are replaced by default or nearest values.
///
/// An `occurred_at` that no message can carry, such as `infinity`, is replaced by the nearest time and stops nothing:
/// no decision of the relay rests on it.
#[derive(Debug)]
pub(crate) struct DecodedRow {
    pub(crate) headers: Headers,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) deliver_after: Option<DateTime<Utc>>,
    /// Reason why the row can never be published; `None` if all columns are readable.
    pub(crate) unreadable: Option<Unreadable>,
}

/// Decodes the columns of a row that may hold unreadable values. `headers` is `jsonb` in the binary format.
pub(crate) fn read(
    headers: &[u8],
    occurred_at: PgTimestamp,
    deliver_after: Option<PgTimestamp>,
) -> DecodedRow {
    let mut unreadable = None;
    let headers = read_headers(headers).unwrap_or_else(|error| {
        unreadable = Some(Unreadable::Headers(error));
        Headers::new()
    });
    // A `deliver_after` before the year 1 is simply past, so it is no error.
    if let Some(time) = deliver_after.filter(|after| after.is_too_late()) {
        unreadable = Some(Unreadable::DeliverAfter(time));
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
    use crate::store::sql::pg_timestamp::tests::{INFINITY, MINUS_INFINITY, unix};

    fn jsonb(json: &str) -> Vec<u8> {
        [&[JSONB], json.as_bytes()].concat()
    }

    #[test]
    fn readable_columns_are_decoded() {
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
    fn an_unreadable_column_is_named() {
        let nested = format!("{{\"a\": {}{}}}", "[".repeat(130), "]".repeat(130));
        for (headers, expected) in [
            (r#"{"a": 1e400}"#, "number out of range"),
            (&*format!("{{\"a\": {}}}", "9".repeat(65_000)), "number"),
            (&*nested, "recursion limit"),
            ("", "headers"),
        ] {
            let row = read(&jsonb(headers), unix(0), None);
            let error = row.unreadable.unwrap().to_string();
            assert!(error.contains(expected) && error.len() < 200, "{error}");
        }
        for time in [INFINITY, MINUS_INFINITY] {
            let row = read(&jsonb("{}"), time, None);
            assert!(row.unreadable.is_none());
            assert_eq!(row.occurred_at, time.clamped());
        }
        // The row still counts as scheduled, so it leaves the order of its key.
        let never = read(&jsonb("{}"), unix(0), Some(INFINITY));
        let error = never.unreadable.unwrap().to_string();
        assert!(error.contains("deliver_after is infinity"), "{error}");
        assert!(never.deliver_after.is_some());
    }
}
