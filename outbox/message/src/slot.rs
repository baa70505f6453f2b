//! Slots: the fixed parts into which the messages of a topic are divided by their keys.

/// One of the 64 slots into which messages are divided by their keys.
///
/// The slot of a text is the CRC-32 (ISO 3309, as in zlib) of its bytes in UTF-8, modulo 64. Each message names the slot
/// of its key, or of its id if it has no key. Number and hash are fixed for ever: all relays, and all publishers in other
/// languages, compute the same slot for a key, so a consumer can spread slots over several queues without separating
/// the messages of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// Number of slots.
    pub const COUNT: u8 = 64;

    /// Returns the slot of a key, or of the id of a message without a key.
    ///
    /// ```
    /// # use postroom_message::Slot;
    /// assert_eq!(Slot::of("customer-7").number(), 8);
    /// ```
    pub const fn of(text: &str) -> Self {
        Self((crc32(text.as_bytes()) % Self::COUNT as u32) as u8)
    }

    /// Returns the slot's number, 0 to 63.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns the slots in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

/// Polynomial of CRC-32, its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Remainders of all bytes.
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            remainder = (remainder >> 1) ^ carry;
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

/// Returns the CRC-32 of bytes, as zlib computes it.
const fn crc32(bytes: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    let mut at = 0;
    while at < bytes.len() {
        let index = (remainder as u8 ^ bytes[at]) as usize;
        remainder = (remainder >> 8) ^ REMAINDERS[index];
        at += 1;
    }
    !remainder
}

#[cfg(test)]
mod tests {
    use super::{Slot, crc32};

    #[test]
    fn the_hash_is_the_crc_32_of_zlib() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32("Zoë".as_bytes()), 0x67ac_422a);
    }

    /// The vectors of docs/wire.md.
    #[test]
    fn slots_are_those_that_other_languages_compute() {
        let vectors = [
            ("7", 2),
            ("customer-7", 8),
            ("Zoë", 42),
            ("0190b5d2-7e7a-7000-8000-000000000001", 51),
        ];
        for (text, slot) in vectors {
            assert_eq!(Slot::of(text).number(), slot, "{text:?}");
        }
    }

    #[test]
    fn numbered_keys_use_all_slots_evenly() {
        for prefix in ["", "customer-", "0190b5d2-7e7a-7000-8000-00000000"] {
            let mut keys = [0_u32; Slot::COUNT as usize];
            for number in 0..6_400 {
                let slot = Slot::of(&format!("{prefix}{number:04}"));
                keys[usize::from(slot.number())] += 1;
            }
            assert!(
                keys.iter().all(|keys| (90..=110).contains(keys)),
                "{keys:?}"
            );
        }
    }
}
