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
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(mut url) = url::Url::parse(&self.0) else {
            return f.write_str("(not a URL)");
        };
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return f.write_str("(hidden)");
        }
        // libpq also takes the password as a parameter.
        if url
            .query()
            .is_some_and(|query| query.to_ascii_lowercase().contains("password"))
        {
            url.set_query(Some("***"));
        }
        f.write_str(url.as_str())
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
