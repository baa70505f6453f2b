//! Keys of the configuration, their environment variables and defaults.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use relay::{Config, ENVIRONMENT};

/// Defaults by `section.key`, as `Debug` writes them, in lower case.
fn defaults() -> BTreeMap<String, String> {
    let config = Config::load(None, |_| None).expect("an empty configuration");
    let shown = format!("{config:#?}");
    let mut defaults = BTreeMap::new();
    let mut sections = Vec::new();
    for line in shown.lines().map(str::trim) {
        if line.starts_with('}') {
            sections.pop();
        }
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if value.ends_with('{') {
            sections.push(name);
        } else {
            let value = value.trim_end_matches(',').to_lowercase();
            defaults.insert(format!("{}.{name}", sections.join(".")), value);
        }
    }
    defaults
}

#[test]
fn keys_variables_and_defaults_are_as_before() {
    let defaults = defaults();
    let mut text = String::new();
    for (variable, section, key) in ENVIRONMENT {
        let name = format!("{section}.{key}");
        let default = &defaults[&name];
        writeln!(text, "{name} = {default}    ({variable})").unwrap();
    }
    assert_eq!(
        defaults.len(),
        ENVIRONMENT.len(),
        "every key has a variable: {defaults:#?}"
    );
    golden::check("settings.txt", &text);
}

/// The default that a document gives, as `Debug` writes it, in lower case.
fn documented(cell: &str) -> String {
    let word = cell.trim().trim_matches('`');
    if word == "-" {
        return "none".to_owned();
    }
    if word == "none" {
        return "[]".to_owned();
    }
    if let Ok(duration) = humantime::parse_duration(word) {
        return format!("{duration:?}");
    }
    word.to_lowercase()
}

#[test]
fn the_documents_give_every_default() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(page).expect("docs/operations.md");
    for (key, default) in defaults() {
        let row = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("| `{key}` | ")))
            .unwrap_or_else(|| panic!("docs/operations.md has no row for {key}"));
        let cell = row.split(" | ").next().unwrap_or_default();
        assert_eq!(documented(cell), default.trim_matches('"'), "{key}");
    }
}
