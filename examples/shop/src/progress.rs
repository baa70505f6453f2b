//! Progress display: a bar on a terminal, some lines elsewhere.

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::{print_progress, thousands};

const BAR: &str = "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} to go";
/// Number of lines that are written instead of the bar.
const LINES: u64 = 10;

/// Progress of a task with a known number of steps.
#[derive(Debug)]
pub struct Progress {
    task: &'static str,
    total: u64,
    done: AtomicU64,
    /// Progress bar; `None` unless standard error is a terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts at 0 of `total`.
    pub fn new(task: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total).with_message(task);
            match ProgressStyle::with_template(BAR) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            task,
            total,
            done: AtomicU64::new(0),
            bar,
        }
    }

    /// Records that one more step is done.
    pub fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.is_line_due(done) => print_progress(format!(
                "{} {} of {}",
                self.task,
                thousands(done as i64),
                thousands(self.total as i64)
            )),
            None => {}
        }
    }

    fn is_line_due(&self, done: u64) -> bool {
        let part = |done: u64| done * LINES / self.total.max(1);
        part(done) > part(done - 1)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
