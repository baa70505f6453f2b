//! The identity of a message, and the table row that records it: a pure function of the id.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::{Uuid, Variant};

use super::window::slot;

/// The identity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// A UUID version 7 (RFC 9562, section 5.7), which contains the time of its creation.
    V7 { uuid: Uuid, hash: [u8; 32] },
    /// Any other text, including UUIDs of other versions and UUIDs without hyphens: one in 16 random ids of
    /// 32 hexadecimal digits would look like a version 7.
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
                match (uuid.get_version_num(), uuid.get_variant()) {
                    (7, Variant::RFC4122) if is_hyphenated => Self::V7 { uuid, hash },
                    _ => Self::Other { hash },
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
    use uuid::Uuid;

    use super::{Id, Record};

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

    #[test]
    fn random_digits_are_not_taken_for_a_time() {
        let digits = "936da01f9abd7d9d80c702af85c822a8";
        assert_eq!(Id::new(digits, None).made_at(), None);
        let other_variant = "936da01f-9abd-7d9d-c0c7-02af85c822a8";
        assert_eq!(Id::new(other_variant, None).made_at(), None);
    }
}
