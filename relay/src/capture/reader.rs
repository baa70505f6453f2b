//! The task that reads frames.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Floors, Frame, Frontier, PollInterval, Position, Snapshot, timer::Timer};
use crate::{
    checkpoint::Checkpoint,
    database,
    error::RelayError,
    events,
    message::Message,
    publish::{FrameId, Row},
    sequence,
    sql::{
        page::{self, PageLimit, PageRows},
        server::{self, Look},
    },
};

/// How long to wait for the write-ahead log before asking for a commit instead.
const FLUSH_PATIENCE: Duration = Duration::from_millis(2);

/// How long to wait before asking again how far it is written: some of what a disk takes. Asking
/// without a pause, up to 1,500 times a second, took more of the server than it gained.
const FLUSH_PAUSE: Duration = Duration::from_micros(250);

/// So many positions may be read in vain by each look.
const FRUITLESS: Position = 10_000;

/// How often to ask for a checkpoint because of them.
const FRUITLESS_INTERVAL: Duration = Duration::from_secs(1);

/// What the reader reports, in order: a frame is opened, its rows follow, it is closed.
#[derive(Debug)]
pub(crate) enum Event {
    Opened(Opened),
    Rows {
        frame: FrameId,
        rows: Vec<Row<Message>>,
    },
    Closed {
        frame: FrameId,
    },
    /// Many positions above the floor were handed out, and nothing new is visible there: somebody
    /// writes and does not commit. Each look reads those rows, until a checkpoint raises the floor.
    Fruitless {
        upper: Position,
    },
    /// Reading failed; nothing more will come.
    Lost(RelayError),
}

/// A frame that holds rows.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: FrameId,
    /// Whether it is the walk to the anchor of a rebase.
    pub(crate) walk: bool,
    pub(crate) to: Snapshot,
    pub(crate) upper: Position,
    /// Rows up to here were done by an earlier session.
    pub(crate) done: Position,
    /// Whether a crash can no longer take back what the frame's snapshot sees. If not, a commit
    /// must be recorded before any of its rows is published.
    pub(crate) durable: bool,
}

/// Where the lease is held, for proving that this connection reads from the same server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) lane: i16,
    pub(crate) pid: i32,
    /// How often to prove it.
    pub(crate) every: Duration,
    /// Longest wait for an answer on such a connection.
    pub(crate) patience: Duration,
}

/// Reads frame after frame, never ahead of what the channel takes: no statement is open while it
/// waits.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: PgConnection,
    pub(crate) holder: Holder,
    pub(crate) limit: PageLimit,
    pub(crate) interval: PollInterval,
    pub(crate) timer: Timer,
    pub(crate) floors: watch::Receiver<Floors>,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Reader {
    /// Runs until reading fails or the events' receiver is gone.
    pub(crate) async fn run(mut self, start: Checkpoint) {
        if let Err(error) = self.read(start).await {
            // The session ends with it; nobody is left to tell if this fails.
            drop(self.events.send(Event::Lost(error)).await);
        }
    }

    async fn read(&mut self, start: Checkpoint) -> Result<(), RelayError> {
        let mut highest = start.highest_position();
        let Checkpoint {
            mut delivered,
            unfinished,
            walk,
            ..
        } = start;
        let mut id: FrameId = 0;
        if let Some((anchor, done)) = walk {
            id += 1;
            let frame = Frame::walk(delivered.clone(), anchor, done);
            if !self.deliver(id, frame, done).await? {
                return Ok(());
            }
        }
        if let Some(unfinished) = unfinished {
            id += 1;
            let frontier = Frontier::of(&delivered, &self.floors.borrow());
            let done = unfinished.watermark;
            let (to, upper) = (unfinished.to, unfinished.upper);
            let frame = Frame::new(frontier, to.clone(), upper, Some(done));
            // Its snapshot was recorded, but whoever did so may not have lived to see that reach the
            // synchronous standbys: a server that is killed shows afterwards what was waiting.
            if !self.deliver(id, frame, done).await? {
                return Ok(());
            }
            delivered = to;
        }
        let mut proven = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            if proven.elapsed() >= self.holder.every {
                prove(&mut self.connection, self.holder).await?;
                proven = Instant::now();
            }
            let looked = Instant::now();
            let frontier = Frontier::of(&delivered, &self.floors.borrow());
            let (connection, lane) = (&mut self.connection, self.holder.lane);
            let looking = page::look_and_page(connection, &frontier, lane, self.limit);
            let (look, page) = database::answered(self.holder.patience, looking).await?;
            // Below a floor nobody looks for rows: they would be lost without a sign.
            sequence::check_position(look.upper, highest)?;
            highest = look.upper;
            if page.rows.is_empty()
                && look.upper - frontier.new_floor() > FRUITLESS
                && asked.is_none_or(|asked| asked.elapsed() >= FRUITLESS_INTERVAL)
            {
                asked = Some(Instant::now());
                let upper = look.upper;
                if self.events.send(Event::Fruitless { upper }).await.is_err() {
                    return Ok(());
                }
            }
            if !delivered.misses_any_of(&look.snapshot) {
                self.timer.sleep(self.interval.idle()).await;
                continue;
            }
            let likely = frontier.likely_page();
            let frame = Frame::new(frontier, look.snapshot.clone(), look.upper, None);
            // Seldom it begins in an earlier leaf: then that is read first, and this page again.
            let ahead = Some(page).filter(|_| frame.begins_in(likely));
            let before = id;
            id += 1;
            delivered = look.snapshot.clone();
            let Some(rows) = self.pages(id, frame, 0, Some(look), ahead).await? else {
                return Ok(());
            };
            if rows == 0 {
                id = before;
                self.timer.sleep(self.interval.idle()).await;
            } else {
                self.timer.sleep(self.interval.busy(looked.elapsed())).await;
            }
        }
    }

    /// Reads a frame of an earlier session; false if nobody listens any more.
    async fn deliver(
        &mut self,
        id: FrameId,
        frame: Frame,
        done: Position,
    ) -> Result<bool, RelayError> {
        // It is reported even if it is empty: it may have been recorded as unfinished.
        let opened = Opened {
            id,
            walk: frame.is_walk(),
            to: frame.to().clone(),
            upper: frame.upper(),
            done,
            durable: false,
        };
        if self.events.send(Event::Opened(opened)).await.is_err() {
            return Ok(false);
        }
        let read = self.pages(id, frame, done, None, None).await?;
        let closed = self.events.send(Event::Closed { frame: id }).await;
        Ok(read.is_some() && closed.is_ok())
    }

    /// Reads the pages of a frame; the first may have been read `ahead`. With the `look` that it was
    /// made of, the frame is opened at its first row and closed after its last. Returns the number of
    /// rows, or `None` if nobody listens any more.
    async fn pages(
        &mut self,
        id: FrameId,
        mut frame: Frame,
        done: Position,
        mut look: Option<Look>,
        mut ahead: Option<PageRows>,
    ) -> Result<Option<usize>, RelayError> {
        let reports = look.is_some();
        let mut count = 0;
        while let Some(request) = frame.next_page() {
            let page = if let Some(page) = ahead.take() {
                page
            } else {
                let (connection, lane) = (&mut self.connection, self.holder.lane);
                let reading = page::page(connection, &frame, request, lane, self.limit);
                database::answered(self.holder.patience, reading).await?
            };
            self.limit.learn(&page.rows);
            frame.advance(request, page.rows.last().map(|row| row.position), page.full);
            if page.rows.is_empty() {
                continue;
            }
            if let Some(look) = look.take() {
                let durable = self.is_durable(&look).await?;
                let (to, upper) = (frame.to().clone(), frame.upper());
                let opened = Opened {
                    id,
                    walk: false,
                    to,
                    upper,
                    done,
                    durable,
                };
                if self.events.send(Event::Opened(opened)).await.is_err() {
                    return Ok(None);
                }
            }
            count += page.rows.len();
            if self
                .events
                .send(Event::Rows {
                    frame: id,
                    rows: page.rows,
                })
                .await
                .is_err()
            {
                return Ok(None);
            }
        }
        if count > 0 {
            events::FrameRead { rows: count }.emit();
            if reports && self.events.send(Event::Closed { frame: id }).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(count))
    }

    /// Whether all that the look saw is flushed, or is so within a moment. Visible is not yet
    /// durable under `synchronous_commit = off`.
    async fn is_durable(&mut self, look: &Look) -> Result<bool, RelayError> {
        if look.synchronous_standbys {
            return Ok(false);
        }
        let asked = Instant::now();
        let mut flushed = look.flushed;
        while flushed < look.inserted {
            if asked.elapsed() >= FLUSH_PATIENCE {
                return Ok(false);
            }
            self.timer.sleep(FLUSH_PAUSE).await;
            let asking = server::flushed(&mut self.connection);
            flushed = database::answered(self.holder.patience, asking).await?;
        }
        Ok(true)
    }
}

/// Checks that a connection reads from the primary on which this relay holds the lease.
pub(crate) async fn prove(connection: &mut PgConnection, holder: Holder) -> Result<(), RelayError> {
    let asking = server::holds_lock(connection, holder.lane, holder.pid);
    if database::answered(holder.patience, asking).await? {
        Ok(())
    } else {
        Err(RelayError::Elsewhere)
    }
}
