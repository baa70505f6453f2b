//! The public API of the crates, read from rustdoc's JSON.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::{fs, path::Path};

use public_api::{Builder, PublicApi};
use serde_json::Value;

/// Format of rustdoc's JSON that the crate `public-api` reads: that of Rust 1.95.
const FORMAT: u64 = 57;

/// Files that rustdoc writes, and their golden files.
const FILES: [(&str, &str); 3] = [
    ("outbox.json", "api/outbox.txt"),
    ("inbox.json", "api/inbox.txt"),
    ("relay.json", "api/relay.txt"),
];

/// Traits that the compiler implements by itself and that nobody relies on here, unlike `Send` and `Sync`.
const LEFT_OUT: [&str; 6] = [
    "Freeze",
    "RefUnwindSafe",
    "StructuralPartialEq",
    "Unpin",
    "UnsafeUnpin",
    "UnwindSafe",
];

#[test]
#[ignore = "scripts/public-api makes rustdoc's JSON and runs this"]
#[allow(clippy::print_stderr)] // The script shows it.
fn the_public_api_is_as_before() {
    let folder = std::env::var_os("POSTROOM_API_JSON").expect("run scripts/public-api");
    let folder = Path::new(&folder);
    let found = format(&folder.join("outbox.json"));
    if found != FORMAT {
        eprintln!(
            "warning: the public API was not compared: rustdoc writes JSON of format {found}, and only \
             {FORMAT} (Rust 1.95) can be read; run `make api CARGO='cargo +1.95'`"
        );
        return;
    }
    let apis = FILES.map(|(name, golden)| (golden, api(&folder.join(name))));
    golden::check_all(&apis);
}

/// Version of the format in which a file is written.
fn format(json: &Path) -> u64 {
    let text = fs::read_to_string(json).expect("rustdoc's JSON");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    json["format_version"].as_u64().expect("a format")
}

/// All public items, one a line.
fn api(json: &Path) -> String {
    let api: PublicApi = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .sorted(true)
        .build()
        .expect("reading rustdoc's JSON");
    let lines = api.items().map(ToString::to_string);
    lines
        .filter(|line| {
            !LEFT_OUT
                .iter()
                .any(|name| line.contains(&format!("::{name} for ")))
        })
        .map(|line| line + "\n")
        .collect()
}
