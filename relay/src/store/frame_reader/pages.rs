//! The pages of one frame.

use std::time::Duration;

use relay_core::{
    capture::{Frame, Position},
    publish::FrameId,
    session::frame_reader::{Event, Opened},
};
use tokio::time::Instant;

use super::{Ended, Reader};
use crate::{
    events,
    store::{
        answer,
        page::{self, PageRows},
        server::{self, Look},
    },
};

/// Longest wait for the write-ahead log to be flushed, before a commit is requested instead.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(2);

/// Pause before asking again how far the log is flushed: part of the time that a disk takes. Asking
/// without a pause, up to 1,500 times a second, cost the server more than was gained.
const FLUSH_PAUSE: Duration = Duration::from_micros(250);

impl Reader {
    /// Reads a frame that an earlier session recorded; rows up to `done` are skipped.
    pub(super) async fn resume_frame(
        &mut self,
        id: FrameId,
        frame: Frame,
        done: Position,
    ) -> Result<(), Ended> {
        // The frame is reported even if it is empty: it may have been recorded as unfinished. The
        // relay that recorded it may have ended before the record reached the synchronous standbys:
        // a server that is killed shows afterwards commits that were still waiting for standbys.
        let opened = Opened::new(id, &frame, done, false);
        self.send(Event::Opened(opened)).await?;
        self.pages(id, frame, None, None).await?;
        self.send(Event::Closed { frame: id }).await
    }

    /// Reads the frame that a poll found; its first page may have been read `ahead`. The frame is
    /// opened at its first row and closed after its last. Returns the number of rows.
    pub(super) async fn new_frame(
        &mut self,
        id: FrameId,
        frame: Frame,
        look: Look,
        ahead: Option<PageRows>,
    ) -> Result<usize, Ended> {
        let count = self.pages(id, frame, Some(look), ahead).await?;
        if count > 0 {
            self.send(Event::Closed { frame: id }).await?;
        }
        Ok(count)
    }

    /// Reads the pages of a frame. `unopened` is the poll that found the frame, while the frame is
    /// still to be opened.
    async fn pages(
        &mut self,
        id: FrameId,
        mut frame: Frame,
        mut unopened: Option<Look>,
        mut ahead: Option<PageRows>,
    ) -> Result<usize, Ended> {
        let mut count = 0;
        while let Some(request) = frame.next_page() {
            let page = if let Some(page) = ahead.take() {
                page
            } else {
                let (connection, lane) = (&mut self.connection, self.same_server.lane);
                let reading = page::page(connection, &frame, request, lane, self.limit);
                answer::within(self.same_server.answer_timeout, reading).await?
            };
            let rows = page.rows;
            self.limit.learn(&rows);
            frame.advance(request, rows.last().map(|row| row.position), page.full);
            if rows.is_empty() {
                continue;
            }
            if let Some(look) = unopened.take() {
                let durable = self.is_durable(&look).await?;
                let opened = Opened::new(id, &frame, 0, durable);
                self.send(Event::Opened(opened)).await?;
            }
            count += rows.len();
            self.send(Event::Rows { frame: id, rows }).await?;
        }
        if count > 0 {
            events::FrameRead { rows: count }.emit();
        }
        Ok(count)
    }

    /// Returns `true` if everything that the poll saw is flushed, or is flushed within a moment.
    /// Visible rows are not yet durable under `synchronous_commit = off`.
    async fn is_durable(&mut self, look: &Look) -> Result<bool, Ended> {
        if look.synchronous_standbys {
            return Ok(false);
        }
        let asked = Instant::now();
        let mut flushed = look.flushed;
        while flushed < look.inserted {
            if asked.elapsed() >= FLUSH_TIMEOUT {
                return Ok(false);
            }
            self.timer.sleep(FLUSH_PAUSE).await;
            let asking = server::flushed(&mut self.connection);
            flushed = answer::within(self.same_server.answer_timeout, asking).await?;
        }
        Ok(true)
    }
}
