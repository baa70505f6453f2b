//! The table of docs/wire.md.
//!
//! Its first column names the case, which the scripts of `tests/clients` publish. The last column is the result:
//! "handled", with the fields in backticks that the handler was given, or "dead", with the reason and the words in
//! backticks that the error holds.

use std::{collections::BTreeMap, fs, path::Path};

const TITLE: &str = "## What others send, and how the inbox reads it";

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) case: String,
    result: String,
    /// Words of the result in backticks.
    words: Vec<String>,
}

/// Result of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The fields that the handler was given, by name.
    Handled(BTreeMap<String, String>),
    /// The reason and the error of a dead message.
    Dead { reason: String, error: String },
}

/// Reads the rows of the table.
pub(crate) fn read(document: &Path) -> Vec<Row> {
    let document = fs::read_to_string(document).unwrap();
    let (_, section) = document.split_once(TITLE).expect("the table's title");
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Row> = lines.map(row).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [case, _, result] = cells[..] else {
        panic!("not three cells: {line}");
    };
    let words = result.split('`').skip(1).step_by(2);
    Row {
        case: case.trim_matches('`').to_owned(),
        result: result.to_owned(),
        words: words.map(str::to_owned).collect(),
    }
}

/// Fails unless there is one result for each row, and each is as the row says.
pub(crate) fn compare(rows: &[Row], found: &BTreeMap<String, Outcome>) {
    let mut wrong = Vec::new();
    for row in rows {
        match found.get(&row.case) {
            Some(outcome) if fits(row, outcome) => {}
            other => wrong.push(format!("{}: {}\n    {other:?}", row.case, row.result)),
        }
    }
    let is_row = |case: &String| rows.iter().any(|row| row.case == *case);
    let others = found.iter().filter(|(case, _)| !is_row(case));
    wrong.extend(others.map(|other| format!("no row for {other:?}")));
    assert!(
        wrong.is_empty(),
        "docs/wire.md differs:\n{}",
        wrong.join("\n")
    );
}

fn fits(row: &Row, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Handled(fields) => {
            let holds = |word: &String| {
                let (name, value) = word.split_once(" = ").expect("name = value");
                fields.get(name).is_some_and(|found| found == value)
            };
            row.result.starts_with("handled") && row.words.iter().all(holds)
        }
        Outcome::Dead { reason, error } => {
            row.result.starts_with("dead")
                && row.words.first() == Some(reason)
                && row.words[1..].iter().all(|word| error.contains(word))
        }
    }
}
