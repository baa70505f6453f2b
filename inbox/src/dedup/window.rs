//! The dedup window, and the leaves of the ring that it covers.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Number of leaves of `inbox.processed`.
const SLOTS: i64 = 64;

const DAY: Duration = Duration::from_hours(24);
const DAY_MILLIS: i64 = DAY.as_millis() as i64;

/// Longest dedup window. With [`MAX_SKEW`] and a spare day on either side, one of the 64 leaves can be
/// truncated on every day, also if consumers with different windows share a database.
pub(crate) const MAX_WINDOW: Duration = Duration::from_hours(58 * 24);

/// Largest allowed skew: the time by which an id may be ahead of the database's clock.
pub(crate) const MAX_SKEW: Duration = Duration::from_hours(2 * 24);

/// Returns the leaf for a time in milliseconds since 1970: its day, modulo 64.
pub(super) fn slot(millis: i64) -> i16 {
    millis.div_euclid(DAY_MILLIS).rem_euclid(SLOTS) as i16
}

/// The position of a message's time relative to the dedup window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Inside the window: if the message was handled, the record still exists.
    InWindow,
    /// Older than the window: the record may have been deleted.
    Stale,
    /// Further in the future than the skew allows: the record could be deleted too early or too late.
    Future,
}

/// The time for which the ids of handled messages are kept, and the allowed skew into the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    length: Duration,
    skew: Duration,
}

impl Window {
    /// The longest possible window, which contains every consumer's.
    pub(crate) const WIDEST: Self = Self::new(MAX_WINDOW, MAX_SKEW);

    pub(crate) const fn new(length: Duration, skew: Duration) -> Self {
        Self { length, skew }
    }

    /// Returns how long after its handling an id must be kept: window plus skew, since a message from the
    /// future stays in the window for longer.
    pub(crate) fn retention(&self) -> Duration {
        self.length.saturating_add(self.skew)
    }

    /// Returns the wait until a message from the future is inside the window; `None` if it is longer than ids are kept.
    pub(crate) fn wait(&self, written_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Duration> {
        let wait = (written_at - self.skew - now).to_std().unwrap_or_default();
        (wait <= self.retention()).then_some(wait)
    }

    /// Compares a message's time with the window; `now` is the database's time.
    pub(crate) fn age(&self, written_at: DateTime<Utc>, now: DateTime<Utc>) -> Age {
        if written_at < now - self.length {
            Age::Stale
        } else if written_at > now + self.skew {
            Age::Future
        } else {
            Age::InWindow
        }
    }

    /// Returns the leaves that cannot contain an id of the window, with a spare day on either side for clock
    /// differences and open transactions.
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
    fn times_inside_before_and_after_the_window_are_distinguished() {
        let window = Window::new(30 * DAY, DAY);
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(window.age(now, now), Age::InWindow);
        assert_eq!(window.age(now - 30 * DAY, now), Age::InWindow);
        assert_eq!(window.age(now - 30 * DAY - second, now), Age::Stale);
        assert_eq!(window.age(now + DAY, now), Age::InWindow);
        assert_eq!(window.age(now + DAY + second, now), Age::Future);
    }

    #[test]
    fn a_message_waits_for_the_window_no_longer_than_ids_are_kept() {
        let window = Window::new(30 * DAY, DAY);
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        assert_eq!(window.wait(now + 2 * DAY, now), Some(DAY));
        assert_eq!(window.wait(now, now), Some(Duration::ZERO));
        assert_eq!(window.wait(now + 32 * DAY, now), Some(31 * DAY));
        assert_eq!(window.wait(now + 33 * DAY, now), None);
    }

    proptest! {
        #[test]
        fn no_expired_leaf_contains_an_id_of_the_window(
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
            if window.age(time(now + written), time(now + drift)) == Age::InWindow {
                prop_assert!(!expired.contains(&slot(now + written)));
            }
            for slot in Window::WIDEST.expired_slots(time(now)) {
                prop_assert!(expired.contains(&slot));
            }
        }
    }
}
