//! Fuzz targets: any bytes from a broker on their way to a handler, and any row on its way to a broker.
//!
//! Each target takes bytes and panics if something is wrong. The test of this crate runs them over the
//! corpus and its mutations for some seconds; `scripts/fuzz` runs them under libFuzzer for as long as asked.
#![allow(clippy::missing_panics_doc, clippy::expect_used, clippy::panic)]

mod delivery;
mod row;

pub use delivery::delivery;
pub use row::row;

/// A target's function.
pub type Target = fn(&[u8]);

/// Both targets, by the name of their folder of the corpus.
pub const TARGETS: [(&str, Target); 2] = [("delivery", delivery), ("row", row)];

/// Splits off the next field: a length of two bytes, and at most as many bytes.
fn field<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let (length, rest) = data.split_at(data.len().min(2));
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (field, rest) = rest.split_at(rest.len().min(length));
    *data = rest;
    field
}
