//! Errors and their sources, as text.

use std::error::Error;

/// Returns an error and its sources, outermost first.
pub fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // `**error` avoids `impl Error for &T`, whose source would live no longer than the closure's borrow.
    std::iter::successors(Some(error), |error| (**error).source())
}

/// Returns the texts of an error and of its sources, joined by `: `.
///
/// A source whose text the result contains already is left out: some errors include the text of their source.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !names(&text, &part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

/// Returns `true` if a text holds another one as a whole, not as a part of longer words.
fn names(text: &str, part: &str) -> bool {
    let is_inside_word = |end: Option<char>| end.is_some_and(char::is_alphanumeric);
    text.match_indices(part).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = &rest[part.len()..];
        !is_inside_word(before.chars().next_back()) && !is_inside_word(after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] std::io::Error);

    fn joined(text: &'static str, source: &str) -> String {
        chain(&Outer(text, std::io::Error::other(source.to_owned())))
    }

    #[test]
    fn a_source_is_named_once_and_never_left_out_for_a_similar_one() {
        assert_eq!(
            joined("reading item 17", "item 1"),
            "reading item 17: item 1"
        );
        assert_eq!(
            joined("reading: disk on fire", "disk on fire"),
            "reading: disk on fire"
        );
        assert_eq!(
            joined("refused (no right); grant it", "no right"),
            "refused (no right); grant it"
        );
    }
}
