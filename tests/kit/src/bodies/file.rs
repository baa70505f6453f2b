//! A kept body in its file.

use std::{fs, path::Path};

use inbox::{Delivery, Incoming};
use outbox::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A body of an event with what a consumer needs to choose its handler.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) version: u32,
    pub(super) body: Value,
}

impl Kept {
    pub(super) fn of<E: Event>(event: &E) -> Self {
        Self {
            topic: E::TOPIC.to_owned(),
            type_name: E::TYPE.to_owned(),
            version: E::VERSION,
            body: serde_json::to_value(event).expect("an event is JSON"),
        }
    }

    /// Reads all files of a folder, in the order of their names; none if there is no such folder.
    pub(super) fn read_all(folder: &Path) -> Vec<(String, Self)> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.expect("reading a folder of bodies").path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        paths.sort();
        let read = |path: &Path| {
            let text = fs::read_to_string(path).expect("reading a kept body");
            let body = serde_json::from_str(&text);
            let name = path.file_name().unwrap_or_default();
            let body =
                body.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            (name.to_string_lossy().into_owned(), body)
        };
        paths.iter().map(|path| read(path)).collect()
    }

    /// Writes the body to a file that does not exist yet; returns the file's name.
    pub(super) fn write(&self, folder: &Path) -> String {
        fs::create_dir_all(folder).expect("making the folder of bodies");
        let mut text = serde_json::to_string_pretty(self).expect("a body is JSON");
        text.push('\n');
        let names = (1_u32..).map(|number| self.file_name(number));
        let mut new = names.filter(|name| !folder.join(name).exists());
        let name = new.next().expect("a free name");
        fs::write(folder.join(&name), text).expect("writing a body");
        name
    }

    /// Name of the file: `<type>.v<version>.json`, or with a number if the version has several shapes.
    fn file_name(&self, number: u32) -> String {
        let safe = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let type_name = self.type_name.replace(|c| !safe(c), "_");
        match number {
            1 => format!("{type_name}.v{}.json", self.version),
            _ => format!("{type_name}.v{}.{number}.json", self.version),
        }
    }

    pub(super) fn is_of_type(&self, other: &Self) -> bool {
        self.type_name == other.type_name && self.version == other.version
    }

    /// Returns the delivery of the body.
    pub(super) fn delivery(&self) -> Delivery {
        let mut message = Incoming::default();
        message.message_id = Some(uuid::Uuid::now_v7().to_string());
        message.topic.clone_from(&self.topic);
        message.type_name = Some(self.type_name.clone());
        message.version = Some(self.version);
        Delivery::new(message, self.body.to_string().into_bytes())
    }
}
