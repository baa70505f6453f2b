//! Values of headers, as their publishers meant them.

use lapin::types::{AMQPValue, DecimalValue};
use postroom_message::HeaderValue;

/// Largest whole number up to which a double names each one: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns a text, the bytes of one, or a number; `None` for no value.
///
/// # Errors
/// Fails with the problem of any other value.
pub(super) fn text(value: &AMQPValue) -> Result<Option<String>, &'static str> {
    if matches!(value, AMQPValue::Void) {
        return Ok(None);
    }
    if let Some(bytes) = bytes(value) {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        return Ok(Some(text.to_owned()));
    }
    let number = match value {
        AMQPValue::DecimalValue(number) => Some(decimal_text(*number)),
        value => integer(value).map(|number| number.to_string()),
    };
    number.ok_or("is no text").map(Some)
}

/// Returns the value of a header of the user; `None` if the value is of a kind that headers do not have.
pub(super) fn header(value: &AMQPValue) -> Option<HeaderValue> {
    Some(match value {
        AMQPValue::Boolean(value) => HeaderValue::Bool(*value),
        AMQPValue::Double(value) => HeaderValue::Float(*value),
        AMQPValue::Float(value) => HeaderValue::Float(f64::from(*value)),
        // Parsed, since a division would not give the nearest number.
        AMQPValue::DecimalValue(number) if number.scale > 0 => {
            HeaderValue::Float(decimal_text(*number).parse().ok()?)
        }
        AMQPValue::ByteArray(bytes) => {
            HeaderValue::Text(str::from_utf8(bytes.as_slice()).ok()?.into())
        }
        value => match integer(value) {
            Some(number) => HeaderValue::Int(number),
            None => HeaderValue::Text(lossy_text(value)?),
        },
    })
}

/// Returns a text in which U+FFFD replaces bytes that are not UTF-8.
pub(super) fn lossy_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Returns a number without a fraction.
pub(super) fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::DecimalValue(number) if number.scale == 0 => Some(unscaled(*number)),
        // JavaScript and PHP have no other numbers.
        AMQPValue::Double(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Some(*number as i64)
        }
        _ => None,
    }
}

/// Returns a number without a fraction, also one in a text: publishers of HTTP headers have no other values.
pub(super) fn whole(value: &AMQPValue) -> Option<i64> {
    integer(value).or_else(|| lossy_text(value)?.parse().ok())
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        _ => None,
    }
}

/// Returns the digits of a decimal as a number. AMQP 0-9-1 does not say how a negative one is written; pika, py-amqp
/// and RabbitMQ's Java client write two's complement.
fn unscaled(number: DecimalValue) -> i64 {
    i64::from(number.value.cast_signed())
}

/// Writes a decimal with all its digits, as in `12.50`.
fn decimal_text(number: DecimalValue) -> String {
    let unscaled = unscaled(number);
    let sign = if unscaled < 0 { "-" } else { "" };
    let scale = usize::from(number.scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, DecimalValue};
    use postroom_message::HeaderValue;

    use super::{header, integer, text};

    fn decimal(scale: u8, value: i32) -> AMQPValue {
        let value = value.cast_unsigned();
        AMQPValue::DecimalValue(DecimalValue { scale, value })
    }

    #[test]
    fn a_decimal_keeps_its_digits() {
        let written = |scale, value| text(&decimal(scale, value)).unwrap().unwrap();
        assert_eq!(written(2, 1250), "12.50");
        assert_eq!(written(3, -5), "-0.005");
        assert_eq!(written(0, 7), "7");
        assert_eq!(header(&decimal(2, -1250)), Some(HeaderValue::Float(-12.5)));
        assert_eq!(header(&decimal(0, -7)), Some(HeaderValue::Int(-7)));
        assert_eq!(header(&decimal(255, 1)), Some(HeaderValue::Float(1e-255)));
    }

    #[test]
    fn a_double_without_a_fraction_is_a_whole_number() {
        assert_eq!(integer(&AMQPValue::Double(-7.0)), Some(-7));
        for other in [1.5, 1e17, f64::NAN, f64::INFINITY] {
            assert_eq!(integer(&AMQPValue::Double(other)), None);
        }
        let seven = header(&AMQPValue::Double(7.0));
        assert_eq!(seven, Some(HeaderValue::Float(7.0)));
    }

    #[test]
    fn bytes_of_a_text_are_a_text() {
        let bytes = |bytes: &[u8]| AMQPValue::ByteArray(bytes.to_vec().into());
        assert_eq!(
            header(&bytes(b"shop")),
            Some(HeaderValue::Text("shop".into()))
        );
        assert_eq!(header(&bytes(b"\xFF")), None);
    }
}
