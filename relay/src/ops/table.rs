//! Tables for people.

use std::fmt::Write as _;

use comfy_table::{Table, presets::UTF8_NO_BORDERS};

/// Makes an empty table with a header.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS).set_header(header);
    table
}

/// A text of somebody else's for a terminal, and for JSON: what would move the cursor, hide or turn around
/// what is beside it is escaped as JSON does.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // What `Debug` escapes, apart from what it escapes for its quotes.
        if matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1 {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A String takes everything.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

/// The same of a text with lines.
pub(super) fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// An age in words: the two largest units.
pub(super) fn age(seconds: i64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut left = seconds.max(0);
    let mut words = Vec::new();
    for (unit, size) in units {
        if left >= size && words.len() < 2 {
            words.push(format!("{} {unit}", left / size));
            left %= size;
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
    fn what_is_printed_stays_in_its_place() {
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
    fn ages_are_told_in_two_units() {
        assert_eq!(age(0), "0 s");
        assert_eq!(age(61), "1 min 1 s");
        assert_eq!(age(90_061), "1 d 1 h");
    }
}
