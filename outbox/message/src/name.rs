//! Topic, key and type names: AMQP short strings, validated when they are made.

use std::fmt;

use crate::limits::NAME_BYTES;

/// Error of a name that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}; use 1 to {NAME_BYTES} bytes without control characters{hint}")]
pub struct InvalidName {
    what: &'static str,
    problem: String,
    hint: &'static str,
}

impl InvalidName {
    /// Returns the kind of name that was refused: `topic`, `key` or `type`.
    pub fn field(&self) -> &'static str {
        self.what
    }
}

/// A rule that a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Empty,
    Long,
    Control,
    Wildcard,
}

/// Returns the first rule that a name breaks; `None` for a valid name. The compiler and the running program ask
/// this one function.
const fn fault(value: &str, may_hold_wildcards: bool) -> Option<Fault> {
    let bytes = value.as_bytes();
    if bytes.is_empty() {
        return Some(Fault::Empty);
    }
    if bytes.len() > NAME_BYTES {
        return Some(Fault::Long);
    }
    let mut wildcard = None;
    let mut before = 0;
    let mut at = 0;
    // No iterators in a `const fn`.
    while at < bytes.len() {
        let byte = bytes[at];
        if is_control(before, byte) {
            return Some(Fault::Control);
        }
        if !may_hold_wildcards && matches!(byte, b'*' | b'#') {
            wildcard = Some(Fault::Wildcard);
        }
        before = byte;
        at += 1;
    }
    wildcard
}

/// Returns `true` if a byte ends a control character: `char::is_control` for the bytes of UTF-8.
const fn is_control(before: u8, byte: u8) -> bool {
    byte.is_ascii_control() || (before == 0xC2 && byte <= 0x9F)
}

fn check(
    what: &'static str,
    value: &str,
    may_hold_wildcards: bool,
    hint: &'static str,
) -> Result<(), InvalidName> {
    let problem = match fault(value, may_hold_wildcards) {
        None => return Ok(()),
        Some(Fault::Empty) => "is empty".to_owned(),
        Some(Fault::Long) => format!("is {} bytes long", value.len()),
        Some(Fault::Control) => format!("{value:?} holds a control character"),
        Some(Fault::Wildcard) => format!("{value:?} holds a wildcard"),
    };
    Err(InvalidName {
        what,
        problem,
        hint,
    })
}

/// The text of a refusal by the compiler, which formats nothing: 255 is [`NAME_BYTES`].
macro_rules! refusal {
    ($what:literal, $problem:literal, $hint:literal) => {
        concat!(
            "cannot use the ",
            $what,
            ": ",
            $problem,
            "; write 1 to 255 bytes without control characters",
            $hint
        )
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $may_hold_wildcards:literal, $hint:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Validates a ", $what, ".")]
            ///
            /// # Errors
            /// Returns [`InvalidName`] if the text is empty, longer than 255 bytes, or holds a forbidden
            /// character.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                check($what, &value, $may_hold_wildcards, $hint)?;
                Ok(Self(value))
            }

            #[doc = concat!("Validates a ", $what, " in a constant, so that the compiler refuses a wrong one.")]
            ///
            /// # Panics
            /// Panics where [`new`](Self::new) fails, with the rule that the text breaks.
            #[track_caller]
            pub const fn assert_valid(value: &str) {
                match fault(value, $may_hold_wildcards) {
                    None => {}
                    Some(Fault::Empty) => panic!(refusal!($what, "it is empty", $hint)),
                    Some(Fault::Long) => panic!(refusal!($what, "it is too long", $hint)),
                    Some(Fault::Control) => panic!(refusal!($what, "it holds a control character", $hint)),
                    Some(Fault::Wildcard) => panic!(refusal!($what, "it holds a wildcard", $hint)),
                }
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Subject of a message and its routing key at the broker, for example `orders.placed`.
    Topic, "topic", false, ", and no * or #"
}

name! {
    /// Ordering key of a message: messages of one key stay in commit order.
    Key, "key", true, ""
}

name! {
    /// Type of a message's body, for example `orders.placed`.
    TypeName, "type", true, ""
}

#[cfg(test)]
mod tests {
    use super::{Fault, Key, NAME_BYTES, Topic, TypeName, fault};

    #[test]
    fn a_name_must_fit_an_amqp_short_string() {
        assert!(Topic::new("orders.placed").is_ok());
        assert!(Topic::new("ä".repeat(127)).is_ok());
        assert!(Topic::new("ä".repeat(128)).is_err());
        assert!(Topic::new("").is_err());
        assert!(Topic::new("orders.*").is_err());
        assert!(Key::new("customer * 7").is_ok());
        assert!(Key::new("a\nb").is_err());
    }

    #[test]
    fn an_error_names_the_field_and_the_remedy() {
        let error = Topic::new("x".repeat(300)).unwrap_err();
        assert_eq!(error.field(), "topic");
        assert_eq!(
            error.to_string(),
            "topic is 300 bytes long; use 1 to 255 bytes without control characters, and no * or #"
        );
    }

    #[test]
    fn control_characters_are_those_of_unicode() {
        for character in char::MIN..=char::MAX {
            let found = fault(&format!("a{character}\u{a0}"), true) == Some(Fault::Control);
            assert_eq!(found, character.is_control(), "{character:?}");
        }
    }

    #[test]
    fn the_compiler_refuses_what_the_running_program_refuses() {
        const {
            Topic::assert_valid("orders.placed");
            TypeName::assert_valid("Order * placed");
        }
        let long = "x".repeat(NAME_BYTES + 1);
        for topic in ["", "orders.*", "orders.#", "a\u{85}b", "a\0", &long] {
            let panicked = std::panic::catch_unwind(|| Topic::assert_valid(topic)).unwrap_err();
            let text: &str = panicked.downcast_ref::<&str>().unwrap();
            let remedy = text.split_once("; write ").unwrap().1;
            let error = Topic::new(topic).unwrap_err().to_string();
            assert_eq!(error.split_once("; use ").unwrap().1, remedy);
        }
    }
}
