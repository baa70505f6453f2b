//! Times, as their publishers meant them.

use chrono::{DateTime, Utc};
use lapin::types::AMQPValue;

use super::values;

/// Numbers from here on count milliseconds since 1970, or microseconds, or nanoseconds. As seconds they would be times
/// after the year 5000, and as the next smaller unit times before 1974.
const MILLIS: u64 = 100_000_000_000;
const MICROS: u64 = 1_000 * MILLIS;
const NANOS: u64 = 1_000 * MICROS;

/// Converts a number since 1970: seconds, as AMQP has it, or the smaller unit that its size shows.
///
/// Returns `None` for 0, which clients send for no time, and for a number that is no time in any unit.
pub(super) fn from_number(number: u64) -> Option<DateTime<Utc>> {
    let signed = i64::try_from(number).ok()?;
    match number {
        0 => None,
        1..MILLIS => DateTime::from_timestamp(signed, 0),
        MILLIS..MICROS => DateTime::from_timestamp_millis(signed),
        MICROS..NANOS => DateTime::from_timestamp_micros(signed),
        NANOS.. => Some(DateTime::from_timestamp_nanos(signed)),
    }
}

/// Reads a time by RFC 3339, an AMQP timestamp, or a number since 1970; `None` for any other value, and for the times up
/// to 1970 that stand for no time in .NET and Go.
pub(super) fn from_value(value: &AMQPValue) -> Option<DateTime<Utc>> {
    if let AMQPValue::Timestamp(number) = value {
        return from_number(*number);
    }
    if let Some(number) = values::integer(value) {
        return from_number(number.try_into().ok()?);
    }
    from_text(&values::text(value).ok()??)
}

/// As [`from_value`], for a text.
pub(super) fn from_text(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(number) = text.parse() {
        return from_number(number);
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    Some(time).filter(|time| *time > DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::{from_number, from_text};

    #[test]
    fn zero_and_what_is_no_time_in_any_unit_are_no_time() {
        assert_eq!(from_number(0), None);
        assert_eq!(from_number(u64::MAX), None);
        assert_eq!(from_text("0001-01-01T00:00:00Z"), None);
        assert_eq!(from_text("1970-01-01T00:00:00Z"), None);
        assert_eq!(from_text("yesterday"), None);
    }

    proptest! {
        /// Up to the year 2554, where nanoseconds end.
        #[test]
        fn a_number_is_read_in_the_unit_that_it_was_written_in(millis in 150_000_000_000_i64..9_223_372_036_854) {
            let time = DateTime::from_timestamp_millis(millis).unwrap();
            let read = |number: i64| from_number(number as u64);
            prop_assert_eq!(read(millis), Some(time));
            prop_assert_eq!(read(time.timestamp_micros()), Some(time));
            prop_assert_eq!(read(millis * 1_000_000), Some(time));
            prop_assert_eq!(read(time.timestamp()), DateTime::from_timestamp(time.timestamp(), 0));
            prop_assert_eq!(from_text(&time.to_rfc3339()), Some(time));
        }
    }
}
