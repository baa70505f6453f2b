//! JSON in the form in which PostgreSQL prints a `jsonb`.

use std::io;

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter, value::RawValue};

use crate::Decimal;

/// Returns a value's JSON text as PostgreSQL prints a `jsonb`, so that its length is the length in the table.
///
/// # Errors
/// Fails if the value does not serialise to JSON.
pub fn jsonb(value: &impl Serialize) -> serde_json::Result<Box<RawValue>> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, Jsonb))?;
    let text = String::from_utf8(text).map_err(serde::ser::Error::custom)?;
    RawValue::from_string(text)
}

/// JSON formatter that prints as `jsonb` does: a space after each colon and comma, all digits of numbers.
struct Jsonb;

impl Formatter for Jsonb {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{}", Decimal(value))
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
