//! Simulated tasks around the core: its traffic with the broker and the table.

use std::sync::Arc;

use super::{
    broker,
    message::Harm,
    world::{Link, Page, Poll, Recording, World},
};
use crate::{
    capture::Position,
    publish::{Hold, Outcome, Reason, Settled},
    session::{Command, Event, Report, lease, parked_reader},
};

impl World {
    /// Brings an event to the core, and carries out its commands.
    pub(super) fn handle(&mut self, event: Event<Position>) -> Vec<Settled> {
        let now = self.time();
        self.core.handle(event, now);
        self.run_commands()
    }

    /// Carries out the commands that are due; returns the decisions about messages.
    pub(super) fn run_commands(&mut self) -> Vec<Settled> {
        let mut decisions = Vec::new();
        while let Some(command) = self.core.next(self.time(), self.lease_age) {
            match command {
                Command::Publish { channel, batch, .. } => {
                    let rows = batch.iter().map(|row| row.position);
                    self.publish(channel, rows.collect());
                }
                Command::Lease(lease::Command::Record { checkpoint, write }) => {
                    let before = std::mem::take(&mut self.recording);
                    assert!(matches!(before, Recording::None), "two records at once");
                    self.recording = Recording::Sent(checkpoint, write);
                }
                Command::ParkedReader(parked_reader::Command::Poll { in_progress }) => {
                    assert!(self.poll.is_none() && !self.stopping);
                    self.poll = Some(Poll::Asked(in_progress));
                }
                Command::ParkedReader(parked_reader::Command::ReadKey(request)) => {
                    assert!(!self.stopping, "a stop loads no parked rows");
                    let read = None;
                    self.pages.push(Page { request, read });
                }
                Command::Report(Report::Settled(settled)) => decisions.extend(settled),
                Command::Lease(_) | Command::Floors(_) | Command::Report(_) => {}
            }
        }
        decisions
    }

    fn publish(&mut self, channel: usize, batch: Vec<Position>) {
        assert_eq!(self.link, Link::Ready);
        assert!(self.lease_age < self.limits.lease_timeout, "lease overdue");
        assert!(batch.len() <= self.limits.batch);
        let is_free = self.batches.iter().all(|(other, _)| *other != channel);
        assert!(is_free, "two batches on a channel");
        self.check_durable(&batch);
        self.check_not_recorded(&batch);
        self.check_not_dropped(&batch);
        self.batches.push((channel, batch));
        self.check_one_in_flight_per_key();
    }

    /// Settles a batch: the broker answers it, or its channel is lost.
    pub(super) fn settle(&mut self, which: usize, lost: Option<u8>) {
        if self.batches.is_empty() {
            return;
        }
        let (channel, batch) = self.batches.remove(which % self.batches.len());
        let outcomes = self.broker.take(&self.messages(&batch), lost);
        let outcomes: Vec<_> = batch.into_iter().zip(outcomes).collect();
        self.batch_done(channel, outcomes);
    }

    fn batch_done(&mut self, channel: usize, outcomes: Vec<(Position, Outcome)>) {
        let known = outcomes.clone();
        let was_parked = |position| self.core.machine().was_parked(position);
        let was_parked: Vec<bool> = known.iter().map(|(row, _)| was_parked(*row)).collect();
        let settled = self.handle(Event::BatchDone { channel, outcomes });
        // The decisions about other rows follow.
        for (((position, outcome), settled), was_parked) in
            known.into_iter().zip(settled).zip(was_parked)
        {
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
        let (channel, batch) = self.batches.remove(which % self.batches.len());
        let outcomes = batch.into_iter().map(|row| (row, Outcome::Unsent));
        let outcomes = outcomes.collect();
        self.handle(Event::BatchDone { channel, outcomes });
    }

    /// Loses the connection to the broker with all batches in flight, or connects again.
    pub(super) fn reconnect(&mut self, reached: u8) {
        if self.link == Link::Lost {
            return self.connect();
        }
        self.link = Link::Lost;
        self.handle(Event::Disconnected);
        while !self.batches.is_empty() {
            self.settle(0, Some(reached));
        }
    }

    /// Lets the broker take no messages for now, or take them again.
    pub(super) fn block(&mut self, blocked: bool) {
        if self.link != Link::Lost {
            self.link = if blocked { Link::Blocked } else { Link::Ready };
            self.handle(Event::Blocked(blocked));
        }
    }

    /// Moves a record one step on: committed, known to be committed.
    pub(super) fn record(&mut self) {
        match std::mem::take(&mut self.recording) {
            Recording::None => {
                self.run_commands();
            }
            Recording::Sent(checkpoint, write) => {
                let locked = self.table.locked_of(&write, &self.locked);
                self.table.commit(&write, &locked, &self.outbox, self.now);
                self.advance_checkpoint(*checkpoint);
                self.flush();
                self.check_watermark();
                self.recording = Recording::Durable(write, locked);
            }
            Recording::Durable(write, locked) => {
                let xid = self.next_xid();
                self.left_locked = !locked.is_empty();
                self.handle(Event::Recorded(lease::Recorded { xid, write, locked }));
            }
        }
    }

    fn advance_checkpoint(&mut self, checkpoint: crate::checkpoint::Checkpoint) {
        let before = (self.finished(), self.watermark());
        self.checkpoint = checkpoint;
        let after = (self.finished(), self.watermark());
        assert!(before <= after, "it went back: {before:?} {after:?}");
    }

    /// Reads a requested page of parked rows.
    pub(super) fn ask(&mut self) {
        let (page_rows, now) = (self.page_rows, self.now);
        let mut pages = self.pages.iter_mut();
        if let Some(page) = pages.find(|page| page.read.is_none()) {
            page.read = Some(self.table.page(&page.request, page_rows, now));
        }
    }

    /// Hands over a page that was read some time ago.
    pub(super) fn answer(&mut self, which: usize) {
        let read = self.pages.iter().enumerate();
        let read = read.filter(|(_, page)| page.read.is_some());
        let read: Vec<usize> = read.map(|(index, _)| index).collect();
        if read.is_empty() {
            return;
        }
        let page = self.pages.remove(read[which % read.len()]);
        let (rows, more) = page.read.unwrap_or_default();
        let rows = rows.iter();
        let rows = rows.map(|row| row.message.parked(self.now, row.attempts, row.discarded));
        self.handle(Event::ParkedReader(parked_reader::Event::KeyRows {
            request: page.request,
            rows: rows.collect(),
            more,
        }));
    }

    /// Moves a poll one step on: requested, read, answered.
    pub(super) fn poll(&mut self) {
        self.poll = match self.poll.take() {
            None => {
                self.handle(Event::PollDue);
                return;
            }
            Some(Poll::Asked(in_progress)) => {
                let due = self.table.due(self.now).into_iter();
                let due = due.filter(|row| !in_progress.contains(&row.message.position));
                Some(Poll::Read(due.collect()))
            }
            Some(Poll::Read(due)) => {
                let (mut keys, mut singles) = (Vec::new(), Vec::new());
                for row in due {
                    if let (Some(key), Hold::Topic | Hold::Key) = (&row.message.key, row.hold) {
                        keys.push(Arc::clone(key));
                        continue;
                    }
                    let (attempts, discarded) = (row.attempts, row.discarded);
                    singles.push(row.message.parked(self.now, attempts, discarded));
                }
                self.handle(Event::ParkedReader(parked_reader::Event::Due {
                    keys,
                    singles,
                    more: false,
                }));
                return;
            }
        };
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
