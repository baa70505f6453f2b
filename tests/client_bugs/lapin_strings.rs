//! lapin 4.12: `ShortString::from` panics above 255 bytes.

use std::panic::catch_unwind;

use lapin::types::ShortString;

#[test]
fn short_string_from_panics_above_255_bytes_and_try_new_does_not() {
    let long = "x".repeat(256);
    assert!(ShortString::try_new(long.as_str()).is_err());
    assert!(ShortString::try_new(&long[..255]).is_ok());
    assert!(
        catch_unwind(|| ShortString::from(long.as_str())).is_err(),
        "lapin's `from` no longer panics"
    );
}
