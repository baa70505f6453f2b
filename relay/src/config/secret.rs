//! A URL that never shows its password.

use std::fmt;

use serde::Deserialize;

/// A URL with a password in it. Its `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the whole URL, password included.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for Secret {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for Secret {
    /// By the text alone, whatever a parser takes for user, host and query: passwords that should have been
    /// escaped end a host or begin a query for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("(not a URL)");
        };
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        write!(f, "{scheme}://")?;
        if let Some(login) = login {
            match login.split_once([':', '/', '?', '#']) {
                Some((user, _)) => write!(f, "{user}:***@")?,
                None => write!(f, "{login}@")?,
            }
        }
        // libpq takes the password as a parameter too, and its name with escapes.
        match place.split_once(['?', '#', '&']) {
            Some((place, _)) => write!(f, "{place}?***"),
            None => f.write_str(place),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn the_password_is_never_shown() {
        for url in [
            "postgres://anna:secret@db/shop",
            "amqp://anna:secret@mq:5672/%2f",
            "postgres://db/shop?user=anna&password=secret",
            "postgres://db/shop?user=anna@shop&pass%77ord=secret",
            "postgres://anna:12/secret@db/shop",
            "postgres://anna:12#secret@db/shop",
            "postgres://anna:12?secret@db/shop",
            "postgres://anna:1@secret@db/shop",
            "postgres:anna:secret@db/shop",
            "secret",
        ] {
            let shown = format!("{0} {0:?}", Secret::from(url));
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert_eq!(
            Secret::from("amqp://a:b@mq/v").to_string(),
            "amqp://a:***@mq/v"
        );
    }
}
