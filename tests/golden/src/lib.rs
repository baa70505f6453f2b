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

pub use facts::{Facts, macros};

/// Environment variable that makes [`check`] write golden files.
const BLESS: &str = "POSTROOM_BLESS";

/// Compares a text with the golden file `tests/frozen/<name>`.
///
/// # Panics
/// Panics with the differing lines if the two differ, and if there is no such file.
#[track_caller]
pub fn check(name: &str, text: &str) {
    let path = folder().join(name);
    let mut now = text.trim_end().to_owned();
    now.push('\n');
    if env::var_os(BLESS).is_some_and(|value| !value.is_empty()) {
        bless(&path, &now);
        return;
    }
    let frozen = fs::read_to_string(&path).unwrap_or_default();
    let Some(differences) = differences(name, &frozen, &now) else {
        return;
    };
    panic!(
        "users see something else than tests/frozen/{name} says:\n{differences}\n\
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
    if fs::read_to_string(path).is_ok_and(|frozen| frozen == text) {
        return;
    }
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
