//! The identity of a message, and the table row that records it: a pure function of the id.

use std::ops::Range;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::{Uuid, Variant};

use super::window::slot;

/// Times that a UUID version 7 can contain, in milliseconds since 1970: the years from 2021, when the format was drafted,
/// to 2099.
///
/// An id with another time only looks like one: a hash cast to a UUID, a counter, a clock that was never set. These
/// numbers must never change, and the time of the day must not count: a duplicate would be looked for in another table
/// than the one that its first delivery was recorded in.
const TIMES: Range<i64> = 1_609_459_200_000..4_102_444_800_000;

/// Returns `true` if a time can be that of a message; later times stand for none.
pub(crate) fn is_plausible(time: DateTime<Utc>) -> bool {
    time.timestamp_millis() < TIMES.end
}

/// The identity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// A UUID version 7 (RFC 9562, section 5.7), which contains the time of its creation, one of [`TIMES`].
    V7 { uuid: Uuid, hash: [u8; 32] },
    /// Any other text, including UUIDs of other versions, and UUIDs without hyphens: one in 64 random ids of
    /// 32 hexadecimal digits has the version 7 and its variant, and one in 113 of these has one of [`TIMES`].
    Other { hash: [u8; 32] },
}

/// The table and key by which an id is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// A row of `inbox.processed`, the ring of 64 days; `slot` is its leaf.
    Ring { uuid: Uuid, slot: i16 },
    /// A row of `inbox.processed_other`.
    Hashed { hash: [u8; 32] },
}

impl Id {
    /// Parses the id of a message from `source`, which is part of the hash.
    pub(crate) fn new(message_id: &str, source: Option<&str>) -> Self {
        match Uuid::try_parse(message_id) {
            Ok(uuid) => {
                // Hashed in one spelling, so that all spellings of a UUID are one id.
                let hash = hash(&uuid.hyphenated().to_string(), source);
                let is_hyphenated = message_id.len() == uuid::fmt::Hyphenated::LENGTH;
                let is_dated = (uuid.get_version_num(), uuid.get_variant())
                    == (7, Variant::RFC4122)
                    && TIMES.contains(&millis(&uuid));
                if is_hyphenated && is_dated {
                    Self::V7 { uuid, hash }
                } else {
                    Self::Other { hash }
                }
            }
            Err(_) => Self::Other {
                hash: hash(message_id, source),
            },
        }
    }

    /// Returns the time of the id's creation; `None` if the id contains no time.
    pub(crate) fn made_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::V7 { uuid, .. } => DateTime::from_timestamp_millis(millis(uuid)),
            Self::Other { .. } => None,
        }
    }

    /// Returns the record for a message inside the dedup window.
    pub(crate) fn record(&self) -> Record {
        match *self {
            Self::V7 { uuid, .. } => Record::Ring {
                uuid,
                slot: slot(millis(&uuid)),
            },
            Self::Other { hash } => Record::Hashed { hash },
        }
    }

    /// Returns the SHA-256 of the id and its source.
    pub(crate) const fn hash(&self) -> [u8; 32] {
        match *self {
            Self::V7 { hash, .. } | Self::Other { hash } => hash,
        }
    }

    /// Returns the record for a message outside the dedup window: never in the ring, where the leaf of its
    /// day may be about to be truncated.
    pub(crate) const fn record_outside_window(&self) -> Record {
        Record::Hashed { hash: self.hash() }
    }
}

/// Returns the first 48 bits of a UUID version 7: milliseconds since 1970.
fn millis(uuid: &Uuid) -> i64 {
    (uuid.as_u128() >> 80) as i64
}

fn hash(message_id: &str, source: Option<&str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    if let Some(source) = source {
        // The length makes ("ab", "c") and ("a", "bc") different.
        hasher.update((source.len() as u64).to_be_bytes());
        hasher.update(source);
    }
    hasher.update(message_id);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{Id, Record, slot};

    #[test]
    fn a_uuid_version_7_is_recorded_in_the_leaf_of_its_day() {
        let day = 20_000_u128;
        let uuid = Uuid::from_u128(((day * 86_400_000 + 5) << 80) | (7 << 76) | (2 << 62));
        let id = Id::new(&uuid.to_string(), Some("orders"));
        let slot = (day % 64) as i16;
        assert_eq!(id.record(), Record::Ring { uuid, slot });
        assert_eq!(
            id.made_at().unwrap().timestamp_millis(),
            (day * 86_400_000 + 5) as i64
        );
        assert_eq!(
            id,
            Id::new(&uuid.to_string().to_uppercase(), Some("orders"))
        );
    }

    #[test]
    fn other_ids_are_recorded_with_their_source() {
        let id = |id, source| Id::new(id, source).record();
        assert_eq!(id("7", Some("a")), id("7", Some("a")));
        assert_ne!(id("7", Some("a")), id("7", Some("b")));
        assert_ne!(id("7", Some("a")), id("7", None));
        assert_ne!(id("bc", Some("a")), id("c", Some("ab")));
        let v4 = "936da01f-9abd-4d9d-80c7-02af85c822a8";
        assert!(matches!(id(v4, None), Record::Hashed { .. }));
        assert_eq!(id(v4, None), id(&v4.to_uppercase(), None));
        assert_eq!(Id::new(v4, None).made_at(), None);
    }

    /// A UUID version 7 of a time.
    fn v7(millis: i64) -> Uuid {
        Uuid::from_u128(((millis as u128) << 80) | (7 << 76) | (2 << 62) | 0xBAD)
    }

    #[test]
    fn an_id_whose_time_cannot_be_is_recorded_with_its_source() {
        let table = |millis| match Id::new(&v7(millis).to_string(), None) {
            Id::V7 { .. } => "ring",
            Id::Other { .. } => "other",
        };
        let first = 1_609_459_200_000;
        let last = 4_102_444_799_999;
        assert_eq!([table(first), table(last)], ["ring"; 2]);
        for millis in [0, 1, 1_000, first - 1, last + 1, (1 << 48) - 1] {
            assert_eq!(table(millis), "other", "{millis}");
        }
        let counter = "00000000-0000-7000-8000-000000000001";
        assert_eq!(Id::new(counter, None).made_at(), None);
    }

    proptest! {
        /// The ids that an earlier release recorded in the ring, which knew no range of times: those inside the longest
        /// window at some time since the first release.
        #[test]
        fn an_id_that_was_inside_a_window_stays_in_the_ring(
            now in 1_760_000_000_000_i64..4_000_000_000_000,
            age in -2 * 86_400_000_i64..58 * 86_400_000,
        ) {
            let (uuid, millis) = (v7(now - age), now - age);
            let record = Id::new(&uuid.to_string(), Some("orders")).record();
            prop_assert_eq!(record, Record::Ring { uuid, slot: slot(millis) });
        }

        /// A message outside the window has the same record, parked by an earlier release or by this one.
        #[test]
        fn an_id_outside_the_window_keeps_its_record(millis in 0_i64..1 << 48) {
            let id = v7(millis).to_string();
            let hash = super::hash(&id, Some("orders"));
            let parsed = Id::new(&id, Some("orders"));
            prop_assert_eq!(parsed.record_outside_window(), Record::Hashed { hash });
        }
    }

    #[test]
    fn random_digits_are_not_taken_for_a_time() {
        let digits = "936da01f9abd7d9d80c702af85c822a8";
        assert_eq!(Id::new(digits, None).made_at(), None);
        let other_variant = "936da01f-9abd-7d9d-c0c7-02af85c822a8";
        assert_eq!(Id::new(other_variant, None).made_at(), None);
    }
}
