//! Simulated relay around the machine: its traffic with the broker and the table.

use super::{
    broker,
    message::Harm,
    world::{Checkpoint, Page, Recording, World},
};
use crate::{
    capture::Position,
    publish::{Hold, Outcome, Progress, Reason, Settled},
};

impl World {
    pub(super) fn publish(&mut self, most: usize) {
        self.machine.park_unresponsive();
        let batch: Vec<Position> = self
            .machine
            .next_batch(most)
            .into_iter()
            .map(|row| {
                assert_eq!(row.position, row.message);
                row.position
            })
            .collect();
        self.check_not_recorded(&batch);
        if !batch.is_empty() {
            self.batches.push(batch);
        }
        self.check_one_in_flight_per_key();
    }

    /// Settles a batch: the broker answers it, or its channel is lost.
    pub(super) fn settle(&mut self, which: usize, lost: Option<u8>) {
        if self.batches.is_empty() {
            return;
        }
        let batch = self.batches.remove(which % self.batches.len());
        let outcomes = self.broker.take(&self.messages(&batch), lost);
        for (position, outcome) in batch.into_iter().zip(outcomes) {
            let was_parked = self.machine.in_flight_row(position).was_parked();
            let settled = self.machine.settle(position, outcome.clone());
            let settled = settled.expect("it was in flight");
            assert!(broker::fits(&outcome, settled), "{outcome:?} {settled:?}");
            match settled {
                Settled::Delivered => {
                    self.confirmed.insert(position);
                    self.seen_confirmed.insert(position, was_parked);
                }
                Settled::Dropped => {
                    self.dropped.insert(position);
                }
                Settled::Parked(Reason::Rejected) => {
                    let harm = self.outbox[&position].harm;
                    assert_ne!(harm, Harm::None, "{position} is harmless");
                    self.rejected.insert(position);
                }
                Settled::Parked(_) | Settled::Requeued => {}
            }
        }
    }

    /// Returns a batch that was never given to the client, because its channel had been closed.
    pub(super) fn unsend(&mut self, which: usize) {
        if self.batches.is_empty() {
            return;
        }
        for position in self.batches.remove(which % self.batches.len()) {
            let settled = self.machine.settle(position, Outcome::Unsent);
            assert_eq!(settled, None);
        }
    }

    /// Moves a write one step on: taken, committed, known to be committed.
    pub(super) fn record(&mut self) {
        self.recording = match std::mem::take(&mut self.recording) {
            Recording::None => {
                let progress = self.machine.progress();
                Recording::Sent(self.machine.take_writes(), progress)
            }
            Recording::Sent(write, progress) => {
                let locked = self.table.locked_of(&write, &self.locked);
                self.table.commit(&write, &locked, &self.outbox, self.now);
                self.advance_checkpoint(progress);
                self.check_watermark();
                Recording::Durable(write, locked)
            }
            Recording::Durable(write, locked) => {
                self.machine.written(&write, &locked);
                Recording::None
            }
        };
    }

    fn advance_checkpoint(&mut self, progress: Progress) {
        if let Some(id) = progress.finished
            && id as usize >= self.checkpoint.finished
        {
            self.checkpoint = Checkpoint {
                finished: id as usize + 1,
                watermark: 0,
            };
        }
        if let Some(current) = progress.current {
            assert_eq!(current as usize, self.checkpoint.finished);
        }
        if let Some(watermark) = progress.watermark {
            assert!(watermark >= self.checkpoint.watermark, "it went back");
            self.checkpoint.watermark = watermark;
        }
    }

    /// Reads a page of parked rows that the machine requests.
    pub(super) fn ask(&mut self) {
        if self.stopping || !self.machine.has_room_for_parked() {
            return;
        }
        if let Some(request) = self.machine.next_key_request() {
            let (rows, full) = self.table.page(&request, self.page_rows, self.now);
            self.pages.push(Page {
                request,
                rows,
                full,
            });
        }
    }

    /// Hands over a page that was read some time ago.
    pub(super) fn answer(&mut self, which: usize) {
        if self.pages.is_empty() {
            return;
        }
        let page = self.pages.remove(which % self.pages.len());
        let now = self.now;
        let rows = page
            .rows
            .iter()
            .map(|row| row.message.parked(now, row.attempts, row.discarded))
            .collect();
        self.machine
            .take_key_rows(&page.request.key, rows, page.full);
    }

    /// Reads the rows that are due; the next call hands them over.
    pub(super) fn poll(&mut self) {
        let Some(due) = self.polled.take() else {
            if self.stopping {
                return;
            }
            self.polled = Some(self.table.due(self.now));
            return;
        };
        for row in due {
            if let (Some(key), Hold::Topic | Hold::Key) = (&row.message.key, row.hold) {
                self.machine.retry_key(key);
                continue;
            }
            let (attempts, discarded) = (row.attempts, row.discarded);
            self.machine
                .retry(row.message.parked(self.now, attempts, discarded));
        }
    }

    /// Locks a parked row for another transaction, or unlocks it.
    pub(super) fn lock(&mut self, which: usize) {
        if let Some(position) = self.table.nth(which)
            && !self.locked.remove(&position)
        {
            self.locked.insert(position);
        }
    }

    /// Discards a parked row, as an operator does.
    pub(super) fn discard(&mut self, position: Position) {
        self.dropped.insert(position);
        self.table.discard(position, self.now);
    }
}
