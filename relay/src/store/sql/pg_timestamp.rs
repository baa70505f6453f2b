//! Timestamps of the database, with values that chrono cannot hold.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{
    Decode, Postgres, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
};

/// Time from the Unix epoch to PostgreSQL's epoch, the beginning of 2000, in microseconds.
const EPOCH: i64 = 946_684_800_000_000;

/// First and last microsecond of the years 1 to 9999, in Unix time: the range that RFC 3339 can write.
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_300_799_999_999;

/// A `timestamptz` with any value of the server, including `infinity`. chrono's types hold only some of the
/// values and panic at the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PgTimestamp(i64);

impl PgTimestamp {
    /// Returns the time; `None` if it lies outside the years 1 to 9999.
    pub(crate) fn utc(self) -> Option<DateTime<Utc>> {
        let micros = self.0.checked_add(EPOCH)?;
        if !(FIRST..=LAST).contains(&micros) {
            return None;
        }
        DateTime::from_timestamp_micros(micros)
    }

    /// Returns the time, or the nearest time within the years 1 to 9999.
    pub(crate) fn clamped(self) -> DateTime<Utc> {
        let micros = self.0.saturating_add(EPOCH).clamp(FIRST, LAST);
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Returns `true` if the time lies after the year 9999.
    pub(crate) const fn is_too_late(self) -> bool {
        self.0 > LAST - EPOCH
    }
}

impl fmt::Display for PgTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.utc()) {
            (_, Some(time)) => write!(f, "{}", time.format("%F %T")),
            (i64::MAX, _) => f.write_str("infinity"),
            (i64::MIN, _) => f.write_str("-infinity"),
            _ if self.is_too_late() => f.write_str("after the year 9999"),
            _ => f.write_str("before the year 1"),
        }
    }
}

impl Serialize for PgTimestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.utc() {
            Some(time) => time.serialize(serializer),
            None => serializer.collect_str(self),
        }
    }
}

impl Type<Postgres> for PgTimestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for PgTimestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        // The binary format has eight bytes (PostgreSQL's `timestamptz_send`).
        <i64 as Decode<Postgres>>::decode(value).map(Self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;

    use super::{EPOCH, FIRST, LAST, PgTimestamp};

    pub(crate) const INFINITY: PgTimestamp = PgTimestamp(i64::MAX);
    pub(crate) const MINUS_INFINITY: PgTimestamp = PgTimestamp(i64::MIN);

    /// Makes a timestamp from microseconds since the beginning of 1970.
    pub(crate) const fn unix(micros: i64) -> PgTimestamp {
        PgTimestamp(micros - EPOCH)
    }

    #[test]
    fn times_of_the_server_are_read_exactly() {
        let time = PgTimestamp(1).utc().unwrap().to_rfc3339();
        assert_eq!(time, "2000-01-01T00:00:00.000001+00:00");
        assert_eq!(unix(0).utc(), Some(DateTime::UNIX_EPOCH));
    }

    #[test]
    fn times_out_of_range_are_named_and_clamped() {
        let last = unix(LAST).utc().unwrap().to_rfc3339();
        assert_eq!(last, "9999-12-31T23:59:59.999999+00:00");
        let first = unix(FIRST).utc().unwrap().to_rfc3339();
        assert_eq!(first, "0001-01-01T00:00:00+00:00");
        for (time, text) in [
            (INFINITY, "infinity"),
            (MINUS_INFINITY, "-infinity"),
            (unix(LAST + 1), "after the year 9999"),
            (unix(FIRST - 1), "before the year 1"),
        ] {
            assert_eq!(time.utc(), None);
            assert_eq!(time.to_string(), text);
            assert_eq!(serde_json::to_value(time).unwrap(), text);
            let nearest = if time.is_too_late() { LAST } else { FIRST };
            assert_eq!(time.clamped().timestamp_micros(), nearest);
        }
    }
}
