//! The documents against the code.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("reading a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "target" {
                sources(&path, all);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all.push_str(&fs::read_to_string(path).expect("reading a source"));
        }
    }
}

/// Words in backticks that fit.
fn quoted(text: &str, fits: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let words = text.split('`').skip(1).step_by(2);
    words.filter(|word| fits(word)).map(str::to_owned).collect()
}

#[test]
fn every_test_that_the_faults_name_exists() {
    let faults = fs::read_to_string(root().join("docs/faults.md")).expect("docs/faults.md");
    let named = quoted(&faults, |word| {
        word.len() > 20 && word.matches('_').count() > 3
    });
    assert!(
        named.len() > 30,
        "the document names its tests in backticks"
    );
    let mut code = String::new();
    for folder in [
        "tests",
        "relay/core/src",
        "relay/src",
        "inbox/src",
        "outbox/src",
    ] {
        sources(&root().join(folder), &mut code);
    }
    let missing: Vec<&String> = named
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/faults.md names tests that do not exist: {missing:#?}"
    );
}

#[test]
fn every_trap_with_a_patch_has_one_that_applies_and_every_patch_is_run() {
    let faults = fs::read_to_string(root().join("docs/faults.md")).expect("docs/faults.md");
    let script = fs::read_to_string(root().join("scripts/traps")).expect("scripts/traps");
    for entry in fs::read_dir(root().join("tests/traps"))
        .expect("tests/traps")
        .flatten()
    {
        let name = entry.file_name().into_string().expect("a name");
        let name = name.trim_end_matches(".patch");
        assert!(
            faults.contains(&format!("`{name}`")),
            "docs/faults.md does not list {name}"
        );
        assert!(
            script.contains(&format!("\n{name} ")),
            "scripts/traps does not run {name}"
        );
        let checked = Command::new("git")
            .args(["apply", "--check"])
            .arg(entry.path())
            .current_dir(root())
            .output()
            .expect("running git");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{name} does not apply: {said}");
    }
}

#[test]
fn every_configuration_key_is_documented() {
    let operations =
        fs::read_to_string(root().join("docs/operations.md")).expect("docs/operations.md");
    for (_, section, key) in relay::ENVIRONMENT {
        let row = format!("| `{section}.{key}` |");
        assert!(
            operations.contains(&row),
            "docs/operations.md has no row {row}"
        );
    }
}
