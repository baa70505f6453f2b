//! Golden files: texts that users see, compared with what was committed under `tests/frozen`.
//!
//! `POSTROOM_BLESS=1` writes the files instead of comparing them; `make bless` does so for all of them.
#![allow(clippy::expect_used)] // For tests only.

mod facts;
mod recorder;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use similar::TextDiff;

pub use facts::{Facts, count_macros};

/// Environment variable that makes [`check`] write golden files.
const BLESS: &str = "POSTROOM_BLESS";

/// Compares a text with the golden file `tests/frozen/<name>`.
///
/// # Panics
/// Panics with the differing lines if the two differ, and if there is no such file.
#[track_caller]
pub fn check(name: &str, text: &str) {
    check_all(&[(name, text.to_owned())]);
}

/// Compares texts with their golden files, and shows the differences of all of them.
///
/// # Panics
/// Panics as [`check`] does.
#[track_caller]
pub fn check_all(files: &[(&str, String)]) {
    let is_blessing = env::var_os(BLESS).is_some_and(|value| !value.is_empty());
    let mut differing = String::new();
    for (name, text) in files {
        let path = folder().join(name);
        let now = format!("{}\n", text.trim_end());
        let frozen = fs::read_to_string(&path).unwrap_or_default();
        if is_blessing && frozen != now {
            bless(&path, &now);
        } else if let Some(differences) = differences(name, &frozen, &now) {
            differing += &differences;
        }
    }
    assert!(
        differing.is_empty(),
        "users see something else than the golden files say:\n{differing}\n\
         If this is intended, run `make bless`, and tell of it in CHANGELOG.md."
    );
}

/// The lines in which two texts differ, with a few around them.
fn differences(name: &str, frozen: &str, now: &str) -> Option<String> {
    let diff = TextDiff::from_lines(frozen, now);
    let mut unified = diff.unified_diff();
    unified.header(&format!("tests/frozen/{name}"), "now");
    (frozen != now).then(|| unified.to_string())
}

fn bless(path: &Path, text: &str) {
    let folder = path.parent().expect("a folder of golden files");
    fs::create_dir_all(folder).expect("making the folder of a golden file");
    fs::write(path, text).expect("writing a golden file");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../frozen")
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(differences("a.txt", "one\ntwo\n", "one\ntwo\n"), None);
    }

    #[test]
    fn the_lines_that_differ_are_shown_with_their_file() {
        let shown = differences("a.txt", "one\ntwo\n", "one\nthree\n").unwrap_or_default();
        for part in [
            "--- tests/frozen/a.txt",
            "+++ now",
            " one",
            "-two",
            "+three",
        ] {
            assert!(shown.lines().any(|line| line == part), "{part}: {shown}");
        }
    }

    #[test]
    fn a_missing_file_differs_in_every_line() {
        let shown = differences("a.txt", "", "one\n").unwrap_or_default();
        assert!(shown.contains("\n+one"), "{shown}");
    }
}
