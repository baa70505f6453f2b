//! Printing of server addresses.

use url::Url;

/// Formats a URL without its password.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Fails for URLs without a host, which have no password either.
        let _ = url.set_password(Some("***"));
    }
    if url.query().is_some_and(|query| query.contains("password")) {
        url.set_query(Some("***"));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn passwords_are_not_printed() {
        for url in [
            "postgres://anna:secret@db/shop",
            "postgres://db/shop?user=anna&password=secret",
        ] {
            let shown = shown(&url.parse().unwrap());
            assert!(
                shown.contains("db/shop") && !shown.contains("secret"),
                "{shown}"
            );
        }
    }
}
