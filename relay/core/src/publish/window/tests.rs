//! The window's counters, compared with the rows in memory.

use super::{FrameWindow, Window};

impl Window {
    /// Checks the counters, given the rows in memory, their bytes, and the rows that no frame may
    /// pass yet.
    pub(in crate::publish) fn check(&self, rows: usize, bytes: usize, unsettled: usize) {
        assert_eq!((self.rows, self.bytes), (rows, bytes));
        let frames = self.frames.iter().map(FrameWindow::unsettled_rows);
        assert_eq!(frames.sum::<usize>(), unsettled);
    }
}
