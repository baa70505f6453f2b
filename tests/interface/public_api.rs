//! The public API of the crates, read from rustdoc's JSON.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::{fs, path::Path};

use public_api::{Builder, PublicApi};
use serde_json::Value;

/// Format of rustdoc's JSON that the crate `public-api` reads: that of Rust 1.95.
const FORMAT: u64 = 57;

/// Names of the libraries, and their golden files.
const LIBRARIES: [(&str, &str); 8] = [
    ("postroom_message", "api/message.txt"),
    ("statement", "api/statement.txt"),
    ("amqp", "api/amqp.txt"),
    ("outbox", "api/outbox.txt"),
    ("outbox_derive", "api/outbox_derive.txt"),
    ("inbox", "api/inbox.txt"),
    ("relay", "api/relay.txt"),
    ("relay_core", "api/relay_core.txt"),
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
    let apis = LIBRARIES.map(|(library, golden)| (golden, api(folder, library)));
    golden::check_all(&apis);
}

/// Version of the format in which a file is written.
fn format(json: &Path) -> u64 {
    let text = fs::read_to_string(json).expect("rustdoc's JSON");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    json["format_version"].as_u64().expect("a format")
}

/// All public items of a library, one a line.
fn api(folder: &Path, library: &str) -> String {
    let api: PublicApi = Builder::from_rustdoc_json(folder.join(format!("{library}.json")))
        .omit_blanket_impls(true)
        .sorted(true)
        .build()
        .expect("reading rustdoc's JSON");
    let is_left_out = |line: &String| {
        let mut names = LEFT_OUT.iter();
        names.any(|name| line.contains(&format!("::{name} for ")))
    };
    let lines = api.items().map(ToString::to_string);
    lines
        .filter(|line| !is_left_out(line))
        .map(|line| without_origins(&line, library) + "\n")
        .collect()
}

/// A line in which items of the other libraries have no path: rustdoc names the private module that defines
/// them, which users do not see.
fn without_origins(line: &str, library: &str) -> String {
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut shown = String::new();
    for piece in spaced(line).split_inclusive(|c| !is_path(c)) {
        let word = piece.trim_end_matches(|c| !is_path(c));
        let (origin, name) = word.rsplit_once("::").unwrap_or(("", word));
        let origin = origin.split("::").next().unwrap_or_default();
        let is_others = origin != library && LIBRARIES.iter().any(|(other, _)| *other == origin);
        shown.push_str(if is_others { name } else { word });
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

/// A line in which the bound of an associated type is apart from its name: public-api writes `Itemoutbox::…`.
fn spaced(line: &str) -> String {
    let libraries = LIBRARIES.iter().map(|(library, _)| library);
    libraries.fold(line.to_owned(), |line, library| {
        line.replace(&format!("Item{library}::"), &format!("Item: {library}::"))
    })
}

#[test]
fn items_of_other_libraries_have_no_path() {
    let line = "pub fn inbox::Context::message(&self) -> &outbox::wire::decode::Incoming";
    let shown = "pub fn inbox::Context::message(&self) -> &Incoming";
    assert_eq!(without_origins(line, "inbox"), shown);
    let line = "fn f() where I: IntoIterator<Itemoutbox::message::IntoMessage>";
    let shown = "fn f() where I: IntoIterator<Item: IntoMessage>";
    assert_eq!(without_origins(line, "inbox"), shown);
    let own = "impl From<outbox::Key> for alloc::string::String é";
    assert_eq!(without_origins(own, "outbox"), own);
}
