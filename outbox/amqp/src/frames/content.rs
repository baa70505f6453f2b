//! A message's properties and headers (AMQP 0-9-1, sections 1.8 and 4.2.6.1).

use std::borrow::Cow;

use super::{
    UNREADABLE,
    method::{REASON_BYTES, add, not_utf8},
    reader::{Flaw, Reader},
};

/// Class, weight and size of the body.
const FIXED_BYTES: usize = 12;

/// A payload of this size fits the smallest frame that AMQP allows.
const ALWAYS_FITS: usize = 4_096 - 8;

/// A property's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Table,
    Byte,
    Time,
}

/// All properties, in the order of their flags from bit 15 on.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::Text),
    ("content_encoding", Kind::Text),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Byte),
    ("priority", Kind::Byte),
    ("correlation_id", Kind::Text),
    ("reply_to", Kind::Text),
    ("expiration", Kind::Text),
    ("message_id", Kind::Text),
    ("timestamp", Kind::Time),
    ("type", Kind::Text),
    ("user_id", Kind::Text),
    ("app_id", Kind::Text),
    ("cluster_id", Kind::Text),
];

const HEADERS: usize = 2;

/// Flags that announce properties which AMQP 0-9-1 does not have.
const UNKNOWN_FLAGS: u16 = 0b11;

/// Returns a content header that the client can read; `None` if it can read the one that came.
///
/// What cannot be read is left out and told in the header [`UNREADABLE`], as is `flaw`, found in the
/// message's method.
pub(super) fn readable(payload: &[u8], flaw: Option<String>) -> Option<Vec<u8>> {
    let found = Found::read(payload);
    if found.flaws.is_empty() && flaw.is_none() {
        return None;
    }
    let mut flaws = flaw.unwrap_or_default();
    if !found.flaws.is_empty() {
        add(&mut flaws, &found.flaws);
    }
    let whole = found.write(payload, &flaws, true);
    if whole.len() <= ALWAYS_FITS.max(payload.len()) {
        return Some(whole);
    }
    add(&mut flaws, "with this said its headers do not fit a frame");
    Some(found.write(payload, &flaws, false))
}

/// What can be read of a content header.
#[derive(Debug, Default)]
struct Found<'a> {
    /// The value of each property that is there, without the length of a table.
    values: [Option<Cow<'a, [u8]>>; PROPERTIES.len()],
    /// What is left out, and why.
    flaws: String,
}

impl<'a> Found<'a> {
    fn read(payload: &'a [u8]) -> Self {
        let mut found = Self::default();
        if let Err(flaw) = found.read_all(payload) {
            add(&mut found.flaws, &format!("properties: {}", flaw.text()));
        }
        found
    }

    fn read_all(&mut self, payload: &'a [u8]) -> Result<(), Flaw> {
        let mut reader = Reader(payload);
        reader.take(FIXED_BYTES)?;
        let flags = reader.u16()?;
        for (index, (name, kind)) in PROPERTIES.into_iter().enumerate() {
            if flags & (1 << (15 - index)) == 0 {
                continue;
            }
            self.values[index] = match kind {
                Kind::Byte => Some(reader.take(1)?.into()),
                Kind::Time => Some(reader.take(8)?.into()),
                Kind::Table => Some(self.table(reader.long_bytes()?)),
                Kind::Text => {
                    let before = reader.0;
                    let text = reader.short_string()?;
                    let is_text = std::str::from_utf8(text).is_ok();
                    if !is_text {
                        add(&mut self.flaws, &not_utf8(name, text));
                    }
                    is_text.then_some(before[..=text.len()].into())
                }
            };
        }
        if reader.is_at_end() && flags & UNKNOWN_FLAGS == 0 {
            Ok(())
        } else {
            Err(Flaw::Broken)
        }
    }

    /// Returns the fields of a table that can be read: as they came, if these are all.
    fn table(&mut self, table: &'a [u8]) -> Cow<'a, [u8]> {
        let mut kept = Vec::new();
        let mut all = true;
        let mut reader = Reader(table);
        while !reader.is_at_end() {
            let field = reader.0;
            match self.field(&mut reader) {
                Ok(true) if all => {}
                Ok(true) => kept.extend_from_slice(&field[..field.len() - reader.0.len()]),
                left_out => {
                    if all {
                        kept = table[..table.len() - field.len()].to_vec();
                        all = false;
                    }
                    if left_out.is_err() {
                        add(&mut self.flaws, "headers: the rest is malformed");
                        break;
                    }
                }
            }
        }
        if all { table.into() } else { kept.into() }
    }

    /// Reads a name and a value; returns whether the client can read them.
    fn field(&mut self, reader: &mut Reader<'a>) -> Result<bool, Flaw> {
        let name = reader.short_string()?;
        let (_, value) = reader.value()?;
        let Ok(text) = std::str::from_utf8(name) else {
            add(&mut self.flaws, &not_utf8("the name of a header", name));
            return Ok(false);
        };
        if let Err(flaw) = value {
            add(&mut self.flaws, &format!("header {text:?} {}", flaw.text()));
        }
        Ok(value.is_ok())
    }

    /// Writes a content header with the reason among its headers.
    fn write(&self, payload: &[u8], reason: &str, with_headers: bool) -> Vec<u8> {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
        let mut table = match &self.values[HEADERS] {
            Some(fields) if with_headers => fields.to_vec(),
            _ => Vec::new(),
        };
        table.push(UNREADABLE.len() as u8);
        table.extend_from_slice(UNREADABLE.as_bytes());
        table.push(b'S');
        table.extend_from_slice(&(reason.len() as u32).to_be_bytes());
        table.extend_from_slice(reason.as_bytes());

        let mut written = payload[..FIXED_BYTES.min(payload.len())].to_vec();
        written.resize(FIXED_BYTES, 0);
        let flags = (0..PROPERTIES.len())
            .filter(|index| *index == HEADERS || self.values[*index].is_some())
            .fold(0_u16, |flags, index| flags | 1 << (15 - index));
        written.extend_from_slice(&flags.to_be_bytes());
        for (index, value) in self.values.iter().enumerate() {
            if index == HEADERS {
                written.extend_from_slice(&(table.len() as u32).to_be_bytes());
                written.extend_from_slice(&table);
            } else if let Some(value) = value {
                written.extend_from_slice(value);
            }
        }
        written
    }
}
