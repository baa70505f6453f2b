//! The shape of JSON: which keys there are, and the types of their values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Types of values by their paths, over several documents.
#[derive(Default)]
pub(crate) struct Shape {
    types: BTreeMap<String, BTreeSet<String>>,
    /// Paths whose texts are a closed set.
    closed: &'static [&'static str],
}

impl Shape {
    /// The texts at the paths in `closed` are shown, others not.
    pub(crate) fn new(closed: &'static [&'static str]) -> Self {
        Self {
            closed,
            ..Self::default()
        }
    }

    /// Adds a document.
    pub(crate) fn add(&mut self, document: &Value) {
        self.walk("$", document);
    }

    /// Returns a line for each path: the types that its values had. Texts of a closed set have lines of their own.
    pub(crate) fn text(&self) -> String {
        let lines = self.types.iter().map(|(path, types)| {
            let types: Vec<&str> = types.iter().map(String::as_str).collect();
            if self.closed.contains(&path.as_str()) {
                format!("{path}:\n    {}\n", types.join("\n    "))
            } else {
                format!("{path}: {}\n", types.join(" | "))
            }
        });
        lines.collect()
    }

    fn walk(&mut self, path: &str, value: &Value) {
        let kind = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "boolean".to_owned(),
            Value::Number(number) if number.is_f64() => "fraction".to_owned(),
            Value::Number(_) => "integer".to_owned(),
            Value::String(text) if self.closed.contains(&path) => format!("{text:?}"),
            Value::String(text) => text_kind(text).to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        self.types.entry(path.to_owned()).or_default().insert(kind);
        match value {
            Value::Array(values) => {
                for value in values {
                    self.walk(&format!("{path}[]"), value);
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.walk(&format!("{path}.{name}"), value);
                }
            }
            _ => {}
        }
    }
}

/// The form of a text: machines read times and ids out of them.
fn text_kind(text: &str) -> &'static str {
    if text.parse::<uuid::Uuid>().is_ok() {
        "uuid"
    } else if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
        "time (RFC 3339)"
    } else {
        "text"
    }
}
