//! A message's properties and headers (AMQP 0-9-1, sections 1.8 and 4.2.6.1).

use super::{
    UNREADABLE,
    method::{REASON_BYTES, add, not_utf8},
    reader::{Flaw, Reader},
};

/// Class, weight and size of the body.
const FIXED_BYTES: usize = 12;

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

/// Returns a content header that the client can read, of at most `limit` bytes; `None` if the client can read the
/// received one.
///
/// Unreadable parts are left out and listed in the header [`UNREADABLE`], as is `flaw`, which was found in the
/// message's method. `limit` has room for all properties except the headers.
pub(super) fn readable(payload: &[u8], flaw: Option<String>, limit: usize) -> Option<Vec<u8>> {
    let mut found = Found::read(payload);
    if found.flaws.is_empty() && flaw.is_none() && payload.len() <= limit {
        return None;
    }
    let mut flaws = flaw.unwrap_or_default();
    if !found.flaws.is_empty() {
        add(&mut flaws, &found.flaws);
    }
    for name in found.fit(limit) {
        add(&mut flaws, &format!("header {name:?} does not fit a frame"));
    }
    Some(found.write(payload, &flaws))
}

/// Readable parts of a content header.
#[derive(Debug, Default)]
struct Found<'a> {
    /// Encoded value of each property; `None` if the property is missing. The headers are in `fields`.
    values: [Option<&'a [u8]>; PROPERTIES.len()],
    /// Headers, each with its name and all its bytes.
    fields: Vec<(&'a str, &'a [u8])>,
    /// Parts that are left out, with reasons.
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
            match kind {
                Kind::Byte => self.values[index] = Some(reader.take(1)?),
                Kind::Time => self.values[index] = Some(reader.take(8)?),
                Kind::Table => self.read_table(reader.long_bytes()?),
                Kind::Text => {
                    let before = reader.0;
                    let text = reader.short_string()?;
                    if std::str::from_utf8(text).is_ok() {
                        self.values[index] = Some(&before[..=text.len()]);
                    } else {
                        add(&mut self.flaws, &not_utf8(name, text));
                    }
                }
            }
        }
        if reader.is_at_end() && flags & UNKNOWN_FLAGS == 0 {
            Ok(())
        } else {
            Err(Flaw::Broken)
        }
    }

    /// Reads the fields of a table, up to one that is malformed.
    fn read_table(&mut self, table: &'a [u8]) {
        let mut reader = Reader(table);
        while !reader.is_at_end() {
            if self.read_field(&mut reader).is_err() {
                add(&mut self.flaws, "headers: the rest is malformed");
                return;
            }
        }
    }

    /// Reads a name and a value, and keeps them if the client can read them.
    fn read_field(&mut self, reader: &mut Reader<'a>) -> Result<(), Flaw> {
        let before = reader.0;
        let name = reader.short_string()?;
        let checked = reader.value()?;
        let bytes = &before[..before.len() - reader.0.len()];
        match (std::str::from_utf8(name), checked) {
            (Ok(UNREADABLE), _) => {
                add(
                    &mut self.flaws,
                    &format!("header {UNREADABLE:?} is Postroom's own"),
                );
            }
            (Ok(name), Ok(())) => self.fields.push((name, bytes)),
            (Ok(name), Err(flaw)) => {
                add(&mut self.flaws, &format!("header {name:?} {}", flaw.text()));
            }
            (Err(_), _) => add(&mut self.flaws, &not_utf8("the name of a header", name)),
        }
        Ok(())
    }

    /// Removes the largest headers until the content header fits `limit` bytes; returns their names.
    fn fit(&mut self, limit: usize) -> Vec<&'a str> {
        let values = self.values.iter().flatten().map(|value| value.len());
        let reason = 1 + UNREADABLE.len() + 5 + REASON_BYTES;
        let others = FIXED_BYTES + 2 + values.sum::<usize>() + 4 + reason;
        let mut bytes: usize = self.fields.iter().map(|(_, field)| field.len()).sum();
        let room = limit.saturating_sub(others);
        if bytes <= room {
            return Vec::new();
        }
        self.fields.sort_by_key(|(_, field)| field.len());
        let mut left_out = Vec::new();
        while bytes > room
            && let Some((name, field)) = self.fields.pop()
        {
            bytes -= field.len();
            left_out.push(name);
        }
        left_out
    }

    /// Writes a content header with the reason among its headers.
    fn write(&self, payload: &[u8], reason: &str) -> Vec<u8> {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
        let mut table: Vec<u8> = self
            .fields
            .iter()
            .flat_map(|(_, bytes)| *bytes)
            .copied()
            .collect();
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
