//! Showing how far something is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::{tell, thousands};

const BAR: &str = "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} to go";
/// Lines that are written in place of the bar.
const LINES: u64 = 10;

/// How far something is.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    done: AtomicU64,
    /// On a terminal only.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins at 0 of `total`.
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total).with_message(what);
            match ProgressStyle::with_template(BAR) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            what,
            total,
            done: AtomicU64::new(0),
            bar,
        }
    }

    /// One more is done.
    pub fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.is_worth_a_line(done) => tell(format!(
                "{} {} of {}",
                self.what,
                thousands(done as i64),
                thousands(self.total as i64)
            )),
            None => {}
        }
    }

    fn is_worth_a_line(&self, done: u64) -> bool {
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
