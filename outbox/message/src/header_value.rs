//! Values of headers.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Value of a header: a type that both JSON and an AMQP table carry without loss.
///
/// A consumer receives the same value in the same variant. SQL does not distinguish kinds of numbers: a
/// number without a fraction arrives as [`Int`](Self::Int) if it fits, any other number as the nearest
/// [`Float`](Self::Float).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with or without a fraction; publishing refuses numbers that are not finite.
    ///
    /// Minus zero arrives as zero. The table stores all digits: [`f64::MAX`] takes 311 bytes of the size
    /// limit.
    Float(f64),
    /// A text.
    Text(String),
}

impl From<bool> for HeaderValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for HeaderValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for HeaderValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for HeaderValue {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for HeaderValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for HeaderValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl HeaderValue {
    /// Returns the value as text, for AMQP fields that can hold only text.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Bool(value) => value.to_string().into(),
            Self::Int(value) => value.to_string().into(),
            Self::Float(value) => Decimal(*value).to_string().into(),
            Self::Text(text) => text.into(),
        }
    }
}

/// Formats a finite number as PostgreSQL's `jsonb` does: with all digits and no exponent.
///
/// The text always has a fraction, so that it is read back as a [`HeaderValue::Float`].
#[derive(Debug, Clone, Copy)]
pub struct Decimal(pub f64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // PostgreSQL has no minus zero.
        let number = self.0 + 0.0;
        let fraction = if number.fract() == 0.0 { ".0" } else { "" };
        write!(f, "{number}{fraction}")
    }
}
