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

fn check(what: &'static str, value: &str, hint: &'static str) -> Result<(), InvalidName> {
    let problem = if value.is_empty() {
        "is empty".to_owned()
    } else if value.len() > NAME_BYTES {
        format!("is {} bytes long", value.len())
    } else if value.chars().any(char::is_control) {
        format!("{value:?} holds a control character")
    } else if !hint.is_empty() && value.contains(['*', '#']) {
        format!("{value:?} holds a wildcard")
    } else {
        return Ok(());
    };
    Err(InvalidName {
        what,
        problem,
        hint,
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $hint:literal) => {
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
                check($what, &value, $hint)?;
                Ok(Self(value))
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
    Topic, "topic", ", and no * or #"
}

name! {
    /// Ordering key of a message: messages of one key stay in commit order.
    Key, "key", ""
}

name! {
    /// Type of a message's body, for example `orders.placed`.
    TypeName, "type", ""
}

#[cfg(test)]
mod tests {
    use super::{Key, Topic};

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
}
