//! Reader of AMQP 0-9-1 values (section 4.2.5), with the types that RabbitMQ knows.

use super::MAX_DEPTH;

/// Reason why a value cannot be passed to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The value ends early or has an unknown type, so its end is unknown.
    Broken,
    /// Arrays and tables are nested too deeply.
    TooDeep,
    /// The name of a table's field is not UTF-8.
    NotUtf8,
}

impl Flaw {
    pub(super) fn text(self) -> String {
        match self {
            Self::Broken => "is malformed".to_owned(),
            Self::TooDeep => format!("is nested more than {MAX_DEPTH} levels deep"),
            Self::NotUtf8 => "holds a field whose name is not UTF-8".to_owned(),
        }
    }
}

/// A cursor over untrusted bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Flaw::Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Flaw> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Flaw> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Reads a length of 8 bits, and as many bytes.
    pub(super) fn short_string(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// Reads a length of 32 bits, and as many bytes.
    pub(super) fn long_bytes(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        self.take(length as usize)
    }

    /// Reads a type and its value; the inner result is an error if the client cannot read the value.
    ///
    /// # Errors
    /// Fails if the end of the value is unknown.
    pub(super) fn value(&mut self) -> Result<Result<(), Flaw>, Flaw> {
        match self.checked_value(0) {
            Err(Flaw::Broken) => Err(Flaw::Broken),
            checked => Ok(checked),
        }
    }

    /// Reads a value; after `TooDeep` and `NotUtf8` too, the cursor is behind the value.
    fn checked_value(&mut self, depth: usize) -> Result<(), Flaw> {
        match self.byte()? {
            b't' | b'b' | b'B' => self.take(1).map(drop),
            b's' | b'U' | b'u' => self.take(2).map(drop),
            b'I' | b'i' | b'f' => self.take(4).map(drop),
            b'l' | b'L' | b'd' | b'T' => self.take(8).map(drop),
            // Its scale, and 32 bits.
            b'D' => self.take(5).map(drop),
            b'S' | b'x' => self.long_bytes().map(drop),
            b'V' => Ok(()),
            b'A' => Self(self.long_bytes()?).fields(depth, false),
            b'F' => Self(self.long_bytes()?).fields(depth, true),
            _ => Err(Flaw::Broken),
        }
    }

    /// Reads the fields of an array or a table to the end.
    fn fields(mut self, depth: usize, named: bool) -> Result<(), Flaw> {
        if depth == MAX_DEPTH {
            return Err(Flaw::TooDeep);
        }
        let mut found = Ok(());
        while !self.is_at_end() {
            if named && std::str::from_utf8(self.short_string()?).is_err() {
                found = Err(Flaw::NotUtf8);
            }
            match self.checked_value(depth + 1) {
                Ok(()) => {}
                Err(Flaw::Broken) => return Err(Flaw::Broken),
                Err(flaw) => found = Err(flaw),
            }
        }
        found
    }
}
