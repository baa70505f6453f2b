//! Test bench for single cases: one machine that reads one frame.

use std::{collections::HashSet, time::Duration};

use crate::{
    capture::Position,
    publish::{
        Backoff, Disposition, KeyRequest, Machine, Outcome, ParkedRow, PendingWrites, Row,
        Settings, Settled, TopicPatterns,
    },
};

pub(super) const FRAME: u64 = 1;

pub(super) fn settings() -> Settings {
    Settings {
        window_rows: 100,
        window_bytes: 100,
        key_rows: 10,
        span: 100,
        isolated_batches: 3,
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_mins(1)),
        drop_unroutable: TopicPatterns::default(),
    }
}

pub(super) fn row(position: Position, key: &str, topic: &str) -> Row<Position> {
    Row {
        position,
        key: Some(key.into()).filter(|_| !key.is_empty()),
        topic: topic.into(),
        bytes: 1,
        disposition: Disposition::Due,
        message: position,
    }
}

pub(super) fn unkeyed(position: Position) -> Row<Position> {
    row(position, "", "t")
}

pub(super) fn expired(row: Row<Position>) -> Row<Position> {
    let disposition = Disposition::Expired;
    Row { disposition, ..row }
}

pub(super) fn blame() -> Outcome {
    let blame = Some("unexpected frame".to_owned());
    Outcome::Unknown { blame }
}

/// A machine that reads one frame.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) machine: Machine<Position>,
}

impl Bench {
    pub(super) fn new(settings: Settings) -> Self {
        let mut machine = Machine::new(settings);
        machine.open_frame(FRAME, HashSet::new());
        Self { machine }
    }

    pub(super) fn admit(&mut self, rows: impl IntoIterator<Item = Row<Position>>) {
        for row in rows {
            self.machine.admit(FRAME, row);
        }
    }

    pub(super) fn batch(&mut self) -> Vec<Position> {
        let batch = self.machine.next_batch(100);
        batch.iter().map(|row| row.position).collect()
    }

    pub(super) fn settle(&mut self, position: Position, outcome: Outcome) -> Settled {
        let settled = self.machine.settle(position, outcome);
        settled.expect("it was in flight")
    }

    /// Hands out and confirms messages until none is ready; returns them in the order of
    /// publishing.
    pub(super) fn deliver_all(&mut self) -> Vec<Position> {
        let mut delivered = Vec::new();
        loop {
            let batch = self.batch();
            if batch.is_empty() {
                return delivered;
            }
            for position in batch {
                self.settle(position, Outcome::Confirmed);
                delivered.push(position);
            }
        }
    }

    /// Commits the pending writes, and returns them.
    pub(super) fn commit(&mut self) -> PendingWrites {
        let write = self.machine.take_writes();
        self.machine.written(&write, &[]);
        write
    }

    /// Commits the pending writes, and returns the positions that they park.
    pub(super) fn parked(&mut self) -> Vec<Position> {
        let write = self.commit();
        write.parks.iter().map(|park| park.position).collect()
    }

    pub(super) fn watermark(&mut self) -> Option<Position> {
        self.machine.progress().watermark
    }

    /// Answers a request for the rows of key `k`, and asserts the position at which the page
    /// begins.
    pub(super) fn page(&mut self, after: Position, rows: Vec<Row<Position>>, more: bool) {
        self.page_without(&[], after, rows, more);
    }

    /// Like [`Bench::page`], and asserts the topics that are not asked for.
    pub(super) fn page_without(
        &mut self,
        topics: &[&str],
        after: Position,
        rows: Vec<Row<Position>>,
        more: bool,
    ) {
        let request = KeyRequest {
            key: "k".into(),
            after,
            without: topics.iter().map(|&topic| topic.into()).collect(),
        };
        assert_eq!(self.machine.next_key_request(), Some(request.clone()));
        let rows = rows.into_iter().map(|row| ParkedRow { row, attempts: 1 });
        self.machine
            .take_key_rows(&request.key, rows.collect(), more);
    }

    pub(super) fn retry_key(&mut self) {
        self.machine.retry_key(&"k".into());
    }
}
