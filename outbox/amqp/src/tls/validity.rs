//! The time in which a certificate is valid (RFC 5280, section 4.1.2.5).
//!
//! The TLS library compares the times of the server's certificate only. An expired certificate of the client would be
//! refused by the server, with an alert that names no file.

use chrono::NaiveDateTime;

/// A certificate's state at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    /// Valid at the time.
    Valid,
    /// No longer valid.
    Expired,
    /// Not valid yet.
    NotYet,
    /// No certificate.
    Unreadable,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which is left out in version 1.
const VERSION: u8 = 0xA0;

/// Compares a certificate in DER with a time, in seconds since 1970.
pub(super) fn validity(certificate: &[u8], now: u64) -> Validity {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    match period(certificate) {
        None => Validity::Unreadable,
        Some((begin, _)) if now < begin => Validity::NotYet,
        Some((_, end)) if now > end => Validity::Expired,
        Some(_) => Validity::Valid,
    }
}

/// Reads the first and the last second.
fn period(certificate: &[u8]) -> Option<(i64, i64)> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = element(rest, VERSION)?;
    }
    // The serial number, the algorithm and the issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    let (period, _) = element(rest, SEQUENCE)?;
    let (begin, rest) = time(period)?;
    let (end, _) = time(rest)?;
    Some((begin, end))
}

/// Reads an element with this tag; returns its content and what follows (X.690, section 8.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let add = |sum, digit: &u8| sum << 8 | usize::from(*digit);
            (digits.iter().fold(0, add), rest)
        }
        _ => return None,
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// Reads a time; returns what follows.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let tag = *bytes.first()?;
    if !matches!(tag, UTC_TIME | GENERALIZED_TIME) {
        return None;
    }
    let (text, rest) = element(bytes, tag)?;
    let text = std::str::from_utf8(text).ok()?;
    // RFC 5280: the years of UTC times from 50 on belong to the 20th century.
    let century = match text.get(..2)?.parse::<u32>().ok()? {
        _ if tag == GENERALIZED_TIME => "",
        50.. => "19",
        _ => "20",
    };
    let text = format!("{century}{text}");
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((time.and_utc().timestamp(), rest))
}

#[cfg(test)]
mod tests {
    use super::{Validity, period, validity};

    /// A certificate as far as the period: version 3, with a long serial number.
    fn certificate(begin: &[u8], end: &[u8]) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag, 0x82];
            bytes.extend_from_slice(&(content.len() as u16).to_be_bytes());
            bytes.extend_from_slice(content);
            bytes
        };
        let time = |text: &[u8]| element(if text.len() == 13 { 0x17 } else { 0x18 }, text);
        let period = element(0x30, &[time(begin), time(end)].concat());
        let parts = [
            element(0xA0, &[2, 1, 2]),
            element(0x02, &[1; 200]),
            element(0x30, b""),
            element(0x30, b""),
            period,
        ];
        element(0x30, &element(0x30, &parts.concat()))
    }

    #[test]
    fn both_forms_of_times_are_read() {
        let made = certificate(b"700101000000Z", b"20500101000001Z");
        assert_eq!(period(&made), Some((0, 2_524_608_001)));
        assert_eq!(validity(&made, 1), Validity::Valid);
        assert_eq!(validity(&made, 2_524_608_002), Validity::Expired);
        let made = certificate(b"491231235959Z", b"99991231235959Z");
        assert_eq!(validity(&made, 1), Validity::NotYet);
    }

    #[test]
    fn no_bytes_are_too_few() {
        let whole = certificate(b"700101000000Z", b"20500101000001Z");
        for end in 0..whole.len() {
            assert_eq!(validity(&whole[..end], 1), Validity::Unreadable);
        }
        for byte in 0..whole.len() {
            let mut broken = whole.clone();
            broken[byte] ^= 0xFF;
            let _ = validity(&broken, 1);
        }
    }
}
