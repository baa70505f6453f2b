//! A URL whose password is never printed.

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
    /// Redacts the text itself instead of a parsed URL. A password may contain an unescaped `/`, `?` or `#`; a parser
    /// would take the rest of the password for a path or a query, which would then be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("(not a URL)");
        };
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        write!(f, "{scheme}://")?;
        if let Some(login) = login {
            match login.split_once([':', '/', '?', '#']) {
                Some((user, _)) => write!(f, "{user}:***@")?,
                None => write!(f, "{login}@")?,
            }
        }
        // libpq also accepts the password as a query parameter, and escapes in the parameter's name, so the whole query
        // is hidden. An `@` in the query makes the rest of the query look like the address, so `&` ends an address too.
        match address.split_once(['?', '#', '&']) {
            Some((address, _)) => write!(f, "{address}?***"),
            None => f.write_str(address),
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
    fn the_password_is_never_printed() {
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
