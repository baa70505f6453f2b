//! Tables and texts for the terminal.

use std::fmt::Write as _;

use comfy_table::{Table, presets::UTF8_NO_BORDERS};

/// Makes an empty table with a header.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS).set_header(header);
    table
}

/// Escapes a text of unknown origin for a terminal and for JSON: characters that would move the cursor,
/// hide their neighbours or reverse them are escaped as in JSON.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // The characters that `Debug` escapes, except those escaped only for its quotes.
        if matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1 {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

/// Escapes a text like [`printable`], but keeps its line breaks.
pub(super) fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// Formats a value, or `-` if there is none.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Formats an age in its two largest units.
pub(super) fn age(seconds: i64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut rest = seconds.max(0);
    let mut words = Vec::new();
    for (unit, size) in units {
        if rest >= size && words.len() < 2 {
            words.push(format!("{} {unit}", rest / size));
            rest %= size;
        }
    }
    if words.is_empty() {
        "0 s".to_owned()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::{age, printable};

    #[test]
    fn printed_text_cannot_change_its_surroundings() {
        assert_eq!(
            printable("orders.placed \"é\" 'x' \\ 漢"),
            "orders.placed \"é\" 'x' \\ 漢"
        );
        for hidden in [
            '\x1b',
            '\u{9b}',
            '\r',
            '\n',
            '\t',
            '\u{202e}',
            '\u{200b}',
            '\u{e0001}',
        ] {
            let text = printable(&format!("a{hidden}b"));
            assert!(
                text.is_ascii() && !text.contains(char::is_control),
                "{text:?}"
            );
            let read: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(read, format!("a{hidden}b"));
        }
    }

    #[test]
    fn an_age_is_printed_in_two_units() {
        assert_eq!(age(0), "0 s");
        assert_eq!(age(61), "1 min 1 s");
        assert_eq!(age(90_061), "1 d 1 h");
    }
}
