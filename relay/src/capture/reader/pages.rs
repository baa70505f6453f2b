//! The pages of one frame.

use std::time::Duration;

use tokio::time::Instant;

use super::{Ended, Event, Opened, Reader};
use crate::{
    answer,
    capture::{Frame, Position},
    events,
    publish::FrameId,
    sql::{
        page::{self, PageRows},
        server::{self, Look},
    },
};

/// How long to wait for the write-ahead log before asking for a commit instead.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(2);

/// How long to wait before asking again how far it is written: some of what a disk takes. Asking
/// without a pause, up to 1,500 times a second, took more of the server than it gained.
const FLUSH_PAUSE: Duration = Duration::from_micros(250);

impl Reader {
    /// Reads a frame that an earlier session recorded; rows up to `done` are passed over.
    pub(super) async fn resume_frame(
        &mut self,
        id: FrameId,
        frame: Frame,
        done: Position,
    ) -> Result<(), Ended> {
        // It is reported even if it is empty: it may have been recorded as unfinished. Whoever recorded it
        // may not have lived to see that reach the synchronous standbys: a server that is killed shows
        // afterwards what was waiting.
        let opened = Opened::new(id, &frame, done, false);
        self.tell(Event::Opened(opened)).await?;
        self.pages(id, frame, None, None).await?;
        self.tell(Event::Closed { frame: id }).await
    }

    /// Reads the frame that was made of a look; its first page may have been read `ahead`. It is opened at
    /// its first row and closed after its last. Returns the number of rows.
    pub(super) async fn new_frame(
        &mut self,
        id: FrameId,
        frame: Frame,
        look: Look,
        ahead: Option<PageRows>,
    ) -> Result<usize, Ended> {
        let count = self.pages(id, frame, Some(look), ahead).await?;
        if count > 0 {
            self.tell(Event::Closed { frame: id }).await?;
        }
        Ok(count)
    }

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
                self.tell(Event::Opened(opened)).await?;
            }
            count += rows.len();
            self.tell(Event::Rows { frame: id, rows }).await?;
        }
        if count > 0 {
            events::FrameRead { rows: count }.emit();
        }
        Ok(count)
    }

    /// Whether all that the look saw is flushed, or is so within a moment. Visible is not yet
    /// durable under `synchronous_commit = off`.
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
