//! Task that reads frames.

mod pages;
mod timer;

use std::{convert::Infallible, time::Duration};

use relay_core::{
    capture::{Floors, Frame, Frontier, PollInterval, Position, Snapshot},
    checkpoint::Checkpoint,
    publish::FrameId,
    sequence,
    session::frame_reader::Event,
};
use sqlx::PgConnection;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub(crate) use timer::Timer;

use crate::store::{
    DatabaseError, SameServerProof, StoredMessage, answer,
    page::{self, PageLimit},
};

/// Positions that each poll may read without finding a row, before a checkpoint is requested.
const MAX_EMPTY_SCAN: Position = 10_000;

/// Shortest interval between such requests.
const EMPTY_SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Reads frame after frame, never ahead of what the channel takes: no statement is open while the
/// reader waits.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: PgConnection,
    pub(crate) same_server: SameServerProof,
    pub(crate) limit: PageLimit,
    pub(crate) interval: PollInterval,
    pub(crate) timer: Timer,
    pub(crate) floors: watch::Receiver<Floors>,
    pub(crate) events: mpsc::Sender<Result<Event<StoredMessage>, DatabaseError>>,
}

/// Reason for which reading ends; `None` if the receiver of the events is gone.
type Ended = Option<DatabaseError>;

impl Reader {
    /// Runs until reading fails or the receiver of the events is gone.
    pub(crate) async fn run(mut self, start: Checkpoint) {
        let Err(ended) = self.read(start).await;
        if let Some(error) = ended {
            // If this fails, the session has ended already.
            drop(self.events.send(Err(error)).await);
        }
    }

    async fn send(&self, event: Event<StoredMessage>) -> Result<(), Ended> {
        self.events.send(Ok(event)).await.map_err(|_| None)
    }

    async fn read(&mut self, start: Checkpoint) -> Result<Infallible, Ended> {
        let mut highest = start.highest_position();
        let (mut delivered, mut frames) = self.resume(start).await?;
        let mut proven = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            if proven.elapsed() >= self.same_server.every {
                self.same_server.prove(&mut self.connection).await?;
                proven = Instant::now();
            }
            let poll_began = Instant::now();
            let frontier = Frontier::of(&delivered, &self.floors.borrow());
            let (connection, lane) = (&mut self.connection, self.same_server.lane);
            let looking = page::look_and_page(connection, &frontier, lane, self.limit);
            let (look, page) = answer::within(self.same_server.answer_timeout, looking).await?;
            // Rows below a floor are never read: a sequence that was set back would lose them
            // unnoticed.
            sequence::check_position(look.upper, highest).map_err(DatabaseError::from)?;
            highest = look.upper;
            if page.rows.is_empty()
                && look.upper - frontier.new_floor() > MAX_EMPTY_SCAN
                && asked.is_none_or(|asked| asked.elapsed() >= EMPTY_SCAN_INTERVAL)
            {
                asked = Some(Instant::now());
                let upper = look.upper;
                self.send(Event::EmptyScan { upper }).await?;
            }
            if !delivered.misses_any_of(&look.snapshot) {
                self.timer.sleep(self.interval.idle()).await;
                continue;
            }
            let likely = frontier.likely_page();
            let frame = Frame::new(frontier, look.snapshot.clone(), look.upper, None);
            // Rarely the frame begins in an earlier segment: that segment is read first, and this page
            // again.
            let ahead = Some(page).filter(|_| frame.begins_in(likely));
            delivered = look.snapshot.clone();
            if self.new_frame(frames + 1, frame, look, ahead).await? > 0 {
                frames += 1;
                self.timer
                    .sleep(self.interval.busy(poll_began.elapsed()))
                    .await;
            } else {
                self.timer.sleep(self.interval.idle()).await;
            }
        }
    }

    /// Reads the frames that earlier sessions left: the walk of a rebase, and an unfinished frame.
    /// Returns the snapshot whose rows are read then, and the number of frames.
    async fn resume(&mut self, start: Checkpoint) -> Result<(Snapshot, FrameId), Ended> {
        let mut delivered = start.delivered;
        let mut frames = 0;
        if let Some((anchor, done)) = start.walk {
            frames += 1;
            let frame = Frame::walk(delivered.clone(), anchor, done);
            self.resume_frame(frames, frame, done).await?;
        }
        if let Some(unfinished) = start.unfinished {
            frames += 1;
            let frontier = Frontier::of(&delivered, &self.floors.borrow());
            let (to, watermark) = (unfinished.to, unfinished.watermark);
            let frame = Frame::new(frontier, to.clone(), unfinished.upper, Some(watermark));
            self.resume_frame(frames, frame, watermark).await?;
            delivered = to;
        }
        Ok((delivered, frames))
    }
}
