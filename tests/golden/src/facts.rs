//! Facts that a program reports: a log line, metrics, or both.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::recorder::{Lines, Series};

/// The facts that were recorded, as texts without the names of Rust types.
#[derive(Debug, Default)]
pub struct Facts {
    texts: BTreeSet<String>,
    /// File and line of each `tracing` macro that was reached.
    callsites: BTreeSet<(String, u32)>,
    /// Names of the metrics that were changed.
    metrics: BTreeSet<String>,
}

impl Facts {
    /// Records a fact: everything that `emit` logs and counts on this thread.
    pub fn record(&mut self, emit: impl FnOnce()) {
        let seen = Shared::default();
        let lines = Lines(seen.clone());
        tracing::subscriber::with_default(lines, || {
            metrics::with_local_recorder(&Series(seen.clone()), emit);
        });
        let seen = std::mem::take(&mut *seen.lock());
        let texts: Vec<String> = seen.lines.into_iter().chain(seen.series).collect();
        self.texts.insert(texts.join("\n"));
        self.callsites.extend(seen.callsites);
        self.metrics.extend(seen.metrics);
    }

    /// Returns the facts as one text, sorted.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        texts.join("\n\n")
    }

    /// Returns the number of `tracing` macros that were reached.
    pub fn callsites(&self) -> usize {
        self.callsites.len()
    }

    /// Returns the names of the metrics that were changed.
    pub fn metrics(&self) -> &BTreeSet<String> {
        &self.metrics
    }
}

/// Counts the `tracing` macros for events in the Rust sources of a folder, without its subfolders.
///
/// # Panics
/// Panics if a source cannot be read.
pub fn count_macros(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("reading a folder of sources") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            let source = fs::read_to_string(&path).expect("reading a source");
            let levels = ["debug!(", "info!(", "warn!(", "error!("];
            count += levels
                .map(|level| source.matches(level).count())
                .iter()
                .sum::<usize>();
        }
    }
    count
}

/// Everything that one fact logged and counted.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Log lines, each followed by its fields.
    pub(crate) lines: Vec<String>,
    /// Changed metrics with their labels and values.
    pub(crate) series: BTreeSet<String>,
    pub(crate) callsites: BTreeSet<(String, u32)>,
    /// Names of the changed metrics.
    pub(crate) metrics: BTreeSet<String>,
}

/// [`Seen`], shared by the recorder of log lines and the recorder of metrics.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
