//! Headers in the form that the table stores.

use postroom_message::{InvalidHeader, jsonb, reserved};
use serde_json::value::RawValue;

use crate::{
    HeaderValue, Headers, PublishError,
    limits::{HEADERS_BYTES, NAME_BYTES},
};

/// Returns the headers' JSON text, whose length equals the length that the table's check measures.
///
/// # Errors
/// Fails if the table would refuse the headers, or if a consumer would receive different values.
pub(crate) fn headers(headers: &Headers) -> Result<Box<RawValue>, PublishError> {
    check_values(headers)?;
    let text = jsonb(headers).map_err(PublishError::Serialize)?;
    if text.get().len() > HEADERS_BYTES {
        return Err(PublishError::TooLarge {
            field: "headers",
            bytes: text.get().len(),
            limit: HEADERS_BYTES,
        });
    }
    Ok(text)
}

/// Refuses values that the table or the broker could not carry unchanged.
fn check_values(headers: &Headers) -> Result<(), PublishError> {
    for (name, value) in headers.iter() {
        let problem = match value {
            HeaderValue::Text(text) if text.contains('\0') => InvalidHeader::NUL,
            HeaderValue::Float(number) if !number.is_finite() => "is not a finite number",
            _ => continue,
        };
        return Err(PublishError::Header {
            name: name.to_owned(),
            problem,
        });
    }
    let correlation_id = headers.text(reserved::CORRELATION_ID).unwrap_or_default();
    if correlation_id.len() > NAME_BYTES {
        return Err(PublishError::TooLarge {
            field: "correlation id",
            bytes: correlation_id.len(),
            limit: NAME_BYTES,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Headers;

    #[test]
    fn headers_are_written_as_jsonb_prints_them() {
        let mut headers = Headers::new();
        headers.set("a", 1_i64);
        headers.set("b", 1e21);
        headers.set("c", -0.0);
        headers.set("d", 2.5e-7);
        headers.set("e", "\"\u{1}\u{7f}\n");
        let text = super::headers(&headers).unwrap();
        assert_eq!(
            text.get(),
            "{\"a\": 1, \"b\": 1000000000000000000000.0, \"c\": 0.0, \"d\": 0.00000025, \
             \"e\": \"\\\"\\u0001\u{7f}\\n\"}"
        );
        assert_eq!(super::headers(&Headers::new()).unwrap().get(), "{}");
    }
}
