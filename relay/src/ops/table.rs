//! Tables for people.

use comfy_table::{Table, presets::UTF8_NO_BORDERS};

/// Makes an empty table with a header.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_NO_BORDERS).set_header(header);
    table
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
    use super::age;

    #[test]
    fn ages_are_told_in_two_units() {
        assert_eq!(age(0), "0 s");
        assert_eq!(age(61), "1 min 1 s");
        assert_eq!(age(90_061), "1 d 1 h");
    }
}
