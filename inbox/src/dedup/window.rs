//! The dedup window, and the ring of leaves that holds it.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Leaves of `inbox.processed`.
const SLOTS: i64 = 64;

const DAY: Duration = Duration::from_hours(24);
const DAY_MILLIS: i64 = DAY.as_millis() as i64;

/// Longest dedup window. With [`MAX_SKEW`] and a day on either side it leaves one of the 64 leaves
/// free for truncation on every day, for any two consumers that share a database.
pub(crate) const MAX_WINDOW: Duration = Duration::from_hours(58 * 24);

/// Furthest into the future that an id may be allowed to lie.
pub(crate) const MAX_SKEW: Duration = Duration::from_hours(2 * 24);

/// Returns the leaf of a time in milliseconds since 1970: its day, modulo 64.
pub(super) fn slot(millis: i64) -> i16 {
    millis.div_euclid(DAY_MILLIS).rem_euclid(SLOTS) as i16
}

/// Where a message's time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Inside the window: whether it was handled is known.
    Known,
    /// Older than the window: it may have been handled and forgotten.
    Stale,
    /// Further in the future than clocks differ: it would be forgotten too early or too late.
    Future,
}

/// For how long handled messages are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    length: Duration,
    skew: Duration,
}

impl Window {
    /// The window that holds those of all consumers.
    pub(crate) const WIDEST: Self = Self::new(MAX_WINDOW, MAX_SKEW);

    pub(crate) const fn new(length: Duration, skew: Duration) -> Self {
        Self { length, skew }
    }

    /// How long after a message was handled its id may still be asked for: one from the future is within the
    /// window for longer.
    pub(crate) fn remembered(&self) -> Duration {
        self.length.saturating_add(self.skew)
    }

    /// Places a message's time; `now` is the database's.
    pub(crate) fn age(&self, written_at: DateTime<Utc>, now: DateTime<Utc>) -> Age {
        if written_at < now - self.length {
            Age::Stale
        } else if written_at > now + self.skew {
            Age::Future
        } else {
            Age::Known
        }
    }

    /// Returns the leaves in which no id of the window can be, with a day to spare on either side
    /// for clocks and for transactions under way.
    pub(crate) fn expired_slots(&self, now: DateTime<Utc>) -> impl Iterator<Item = i16> + use<> {
        let day = |time: DateTime<Utc>| time.timestamp_millis().div_euclid(DAY_MILLIS);
        let first = day(now - self.length - DAY);
        let last = day(now + self.skew + DAY);
        (last + 1..first + SLOTS).map(|day| day.rem_euclid(SLOTS) as i16)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::{Age, DAY, MAX_SKEW, MAX_WINDOW, Window, slot};

    #[test]
    fn times_are_placed() {
        let window = Window::new(30 * DAY, DAY);
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(window.age(now, now), Age::Known);
        assert_eq!(window.age(now - 30 * DAY, now), Age::Known);
        assert_eq!(window.age(now - 30 * DAY - second, now), Age::Stale);
        assert_eq!(window.age(now + DAY, now), Age::Known);
        assert_eq!(window.age(now + DAY + second, now), Age::Future);
    }

    proptest! {
        #[test]
        fn no_expired_leaf_holds_an_id_of_the_window(
            now in 0_i64..4_000_000_000_000,
            written in -3_i64 * 86_400_000 * 64..3 * 86_400_000 * 64,
            drift in -86_400_000_i64..86_400_000,
            length in 0..=MAX_WINDOW.as_secs(),
            skew in 0..=MAX_SKEW.as_secs(),
        ) {
            let time = |millis| DateTime::from_timestamp_millis(millis).unwrap();
            let window = Window::new(Duration::from_secs(length), Duration::from_secs(skew));
            let expired: Vec<i16> = window.expired_slots(time(now)).collect();
            prop_assert!(!expired.is_empty());
            if window.age(time(now + written), time(now + drift)) == Age::Known {
                prop_assert!(!expired.contains(&slot(now + written)));
            }
            for slot in Window::WIDEST.expired_slots(time(now)) {
                prop_assert!(expired.contains(&slot));
            }
        }
    }
}
