//! The target `row` under libFuzzer; run by scripts/fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::row(data));
