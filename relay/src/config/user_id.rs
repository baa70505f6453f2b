//! The user that messages name as their publisher.

use std::fmt;

use serde::Deserialize;

/// The broker's user that messages name as their publisher, in the property `user_id`: `true` for the URL's user,
/// `false` for none, or a name.
///
/// RabbitMQ refuses a message that names another user than its connection's. A name is needed where the broker knows
/// the user by another name than the URL does, as with OAuth 2 or client certificates.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum UserId {
    /// The URL's user if `true`, else none.
    OfUrl(bool),
    /// The user of this name.
    Name(String),
}

impl UserId {
    /// Returns the user to name; `None` to name none.
    pub(crate) fn resolve<'a>(&'a self, of_url: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::OfUrl(true) => of_url,
            Self::OfUrl(false) => None,
            Self::Name(name) => Some(name),
        }
    }
}

impl fmt::Debug for UserId {
    /// Formats the value as the configuration file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfUrl(sends) => sends.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::UserId;

    #[test]
    fn a_message_names_the_urls_user_another_or_none() {
        assert_eq!(UserId::OfUrl(true).resolve(Some("orders")), Some("orders"));
        assert_eq!(UserId::OfUrl(true).resolve(None), None);
        assert_eq!(UserId::OfUrl(false).resolve(Some("orders")), None);
        let name = UserId::Name("relay@oauth".to_owned());
        assert_eq!(name.resolve(Some("orders")), Some("relay@oauth"));
    }
}
