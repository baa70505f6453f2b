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
/// A source whose text is already part of the result is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}
