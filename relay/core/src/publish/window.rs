//! The window: the open frames with their watermarks, and the room for more rows.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{
    FrameId, Progress, Settings,
    entry::{Entry, Origin, RowOrder},
    frame_window::FrameWindow,
};
use crate::capture::Position;

/// Room for parked rows beyond the window, in rows and in bytes.
const PARKED_ROWS: usize = 500;
const PARKED_BYTES: usize = 2 << 20;

/// The open frames, and the room that is left.
#[derive(Debug)]
pub(super) struct Window {
    max_rows: usize,
    max_bytes: usize,
    max_span: usize,
    frames: VecDeque<FrameWindow>,
    finished: Option<FrameId>,
    /// Rows in memory, of frames or parked before.
    rows: usize,
    bytes: usize,
}

impl Window {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            max_rows: settings.window_rows,
            max_bytes: settings.window_bytes,
            max_span: settings.span,
            frames: VecDeque::new(),
            finished: None,
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.rows < self.max_rows
            && self.bytes < self.max_bytes
            && self.frames.iter().map(FrameWindow::span).sum::<usize>() < self.max_span
    }

    pub(super) const fn has_room_for_parked(&self) -> bool {
        self.rows < self.max_rows.saturating_add(PARKED_ROWS)
            && self.bytes < self.max_bytes.saturating_add(PARKED_BYTES)
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// Begins a frame.
    pub(super) fn open(&mut self, id: FrameId) {
        debug_assert!(self.frames.back().is_none_or(|frame| frame.id() < id));
        self.frames.push_back(FrameWindow::new(id));
    }

    /// Adds a row of a frame. Returns `false` if the frame is not open.
    pub(super) fn admit(&mut self, id: FrameId, position: Position) -> bool {
        let frame = self.frame(id);
        debug_assert!(frame.is_some(), "frame {id} was never opened");
        frame.map(|frame| frame.admit(position)).is_some()
    }

    /// Ends a frame: it has no more rows.
    pub(super) fn close(&mut self, id: FrameId) {
        if let Some(frame) = self.frame(id) {
            frame.close();
        }
    }

    /// Counts a row as in memory.
    pub(super) const fn load(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
    }

    /// Counts a row as no longer in memory.
    pub(super) const fn unload(&mut self, bytes: usize) {
        self.rows -= 1;
        self.bytes -= bytes;
    }

    /// Removes a row from memory; the watermark may pass it.
    pub(super) fn release<M>(&mut self, entry: &Entry<M>) {
        self.unload(entry.bytes);
        if let Origin::Frame(frame) = entry.origin() {
            self.settle(frame, entry.position);
        }
    }

    /// Marks a row of a frame as settled, so that the watermark may pass it.
    pub(super) fn settle(&mut self, id: FrameId, position: Position) {
        if let Some(frame) = self.frame(id) {
            frame.settle(position);
        }
    }

    /// Returns `true` if a frame has this row and it is not settled.
    pub(super) fn has_unsettled(&self, position: Position) -> bool {
        let mut frames = self.frames.iter();
        frames.any(|frame| frame.has_unsettled(position))
    }

    /// Returns the last frame that is open.
    pub(super) fn last(&self) -> Option<FrameId> {
        self.frames.back().map(FrameWindow::id)
    }

    /// Returns the last row up to which a checkpoint of the present progress passes all rows.
    pub(super) fn passed(&self) -> Option<RowOrder> {
        let current = self.frames.front();
        let current = current.and_then(|frame| Some((frame.id(), frame.watermark()?)));
        let finished = self.finished.map(|frame| (frame, Position::MAX));
        current.or(finished)
    }

    /// Returns how far the frames are settled.
    pub(super) fn progress(&mut self) -> Progress {
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.is_finished()) {
            self.finished = Some(frame.id());
        }
        Progress {
            finished: self.finished,
            current: self.frames.front().map(FrameWindow::id),
            watermark: self.frames.front().and_then(FrameWindow::watermark),
        }
    }

    fn frame(&mut self, id: FrameId) -> Option<&mut FrameWindow> {
        self.frames.iter_mut().find(|frame| frame.id() == id)
    }
}
