//! Bodies of events as releases have published them, kept in files.

mod file;
mod shape;

use std::{env, path::PathBuf};

use inbox::{Consumer, Reason};
use outbox::Event;

use file::Kept;

/// Environment variable that makes [`Bodies::check`] write missing files.
const BLESS: &str = "POSTROOM_BLESS";

/// Bodies of events in a folder: one file for each shape that a release has published.
///
/// Fails a test that changes an event's body by accident: in its shape without a new version, or so that a consumer can
/// no longer read what earlier releases have published. Such messages may lie in queues and in `inbox.parked` for weeks.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct OrderPlaced { order: i64 }
/// # impl outbox::Event for OrderPlaced {
/// #     const TOPIC: &'static str = "orders.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # fn example(consumer: inbox::Consumer) {
/// use postroom_testkit::Bodies;
///
/// Bodies::in_folder("tests/bodies")
///     .event(&OrderPlaced { order: 7 })
///     .read_by(&consumer)
///     .check();
/// # }
/// ```
#[derive(Debug)]
#[must_use = "bodies are compared by `check()`"]
pub struct Bodies<'a> {
    folder: PathBuf,
    events: Vec<Kept>,
    consumers: Vec<&'a Consumer>,
    writes: bool,
}

impl<'a> Bodies<'a> {
    /// Begins with the files of a folder. A relative path begins at the package's folder, where cargo runs tests.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            events: Vec::new(),
            consumers: Vec::new(),
            writes: env::var_os(BLESS).is_some_and(|value| !value.is_empty()),
        }
    }

    /// Adds an example of an event that the service publishes now. Fill in optional fields and lists: `null` and empty
    /// lists are compared with nothing.
    pub fn event<E: Event>(mut self, event: &E) -> Self {
        self.events.push(Kept::of(event));
        self
    }

    /// Adds a consumer that must read all kept bodies of the types that it handles. It needs no database and no broker.
    ///
    /// If there is a consumer, each kept body must be handled by one. A service that publishes events and takes others
    /// keeps them in two folders.
    pub fn read_by(mut self, consumer: &'a Consumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Sets whether missing files are written. Defaults to `true` if the environment variable `POSTROOM_BLESS` is set
    /// and not empty.
    pub const fn write_missing(mut self, writes: bool) -> Self {
        self.writes = writes;
        self
    }

    /// Compares the events with the kept bodies of their version, by names and types, and lets the consumers read all
    /// kept bodies. An existing file is never changed.
    ///
    /// # Panics
    /// Panics with each event whose shape is kept in no file, and with each kept body that a consumer cannot read, or
    /// that no consumer handles.
    #[track_caller]
    pub fn check(self) {
        let mut kept = Kept::read_all(&self.folder);
        let mut problems = Vec::new();
        for event in &self.events {
            let of_version = kept.iter().filter(|(_, body)| body.is_of_type(event));
            let changes = of_version
                .map(|(name, body)| (name, shape::differences(&body.body, &event.body)))
                .min_by_key(|(_, differences)| differences.len());
            match changes {
                Some((_, differences)) if differences.is_empty() => {}
                _ if self.writes => kept.push((event.write(&self.folder), event.clone())),
                Some((name, differences)) => problems.push(changed(event, name, &differences)),
                None => problems.push(missing(event)),
            }
        }
        let consumers = &self.consumers;
        let unread = kept
            .iter()
            .flat_map(|(name, body)| unread(consumers, name, body));
        problems.extend(unread);
        let folder = self.folder.display();
        let problems = problems.join("\n  ");
        assert!(
            problems.is_empty(),
            "bodies differ from those in {folder}:\n  {problems}"
        );
    }
}

fn changed(event: &Kept, name: &str, differences: &[String]) -> String {
    let (type_name, version) = (&event.type_name, event.version);
    let differences = differences.join("\n      ");
    format!(
        "{type_name} has another shape than version {version} in {name}:\n      {differences}\n    \
         raise VERSION and add an upcast; or, if consumers of both shapes read both, run the test with {BLESS}=1"
    )
}

fn missing(event: &Kept) -> String {
    let (type_name, version) = (&event.type_name, event.version);
    format!("{type_name} version {version} is kept in no file; run the test with {BLESS}=1")
}

/// Returns what is wrong with the reading of a kept body.
fn unread(consumers: &[&Consumer], name: &str, body: &Kept) -> Vec<String> {
    let delivery = body.delivery();
    let mut problems = Vec::new();
    let mut is_handled = consumers.is_empty();
    for consumer in consumers {
        match consumer.read(&delivery) {
            Err(error) if error.reason() == Some(Reason::Unhandled) => continue,
            Err(error) => problems.push(format!("{name} cannot be read any more: {error}")),
            Ok(()) => {}
        }
        is_handled = true;
    }
    if !is_handled {
        let type_name = &body.type_name;
        problems.push(format!(
            "{name}: no consumer handles {type_name}; keep a handler while such messages may come, then delete the file"
        ));
    }
    problems
}
