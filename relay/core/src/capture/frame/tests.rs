//! Property test of frames against a model of PostgreSQL: writers, snapshots, floors, crashes of
//! the reader.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Floors, Frame, Frontier, Page, Position, Snapshot};
use crate::capture::{Pair, segment_end, segment_of};

/// A transaction: the positions of its rows, and its end.
#[derive(Debug, Clone, Default)]
struct Writer {
    positions: Vec<Position>,
    committed: bool,
    finished: bool,
}

/// The parts of the server on which capture relies.
#[derive(Debug, Default)]
struct Server {
    writers: BTreeMap<u64, Writer>,
    next_xid: u64,
    sequence: Position,
}

impl Server {
    fn begin(&mut self) -> u64 {
        self.next_xid += 1;
        self.writers.insert(self.next_xid, Writer::default());
        self.next_xid
    }

    fn open(&self) -> Vec<u64> {
        self.writers
            .iter()
            .filter(|(_, w)| !w.finished)
            .map(|(xid, _)| *xid)
            .collect()
    }

    /// `xmax` is one past the highest *finished* id, as in PostgreSQL.
    fn snapshot(&self) -> Snapshot {
        let finished = self
            .writers
            .iter()
            .filter(|(_, w)| w.finished)
            .map(|(xid, _)| xid + 1);
        let xmax = finished.max().unwrap_or(1);
        let running: Vec<String> = self
            .open()
            .iter()
            .filter(|&&xid| xid < xmax)
            .map(ToString::to_string)
            .collect();
        let xmin = running.first().cloned().unwrap_or_else(|| xmax.to_string());
        format!("{xmin}:{xmax}:{}", running.join(","))
            .parse()
            .unwrap()
    }

    /// Returns the rows of a page, as its statement does, and `true` if the page was full.
    fn page(
        &self,
        frontier: &Frontier,
        to: &Snapshot,
        page: Page,
        limit: usize,
    ) -> (Vec<Position>, bool) {
        let mut rows: Vec<Position> = Vec::new();
        let committed = self.writers.iter().filter(|(_, w)| w.committed);
        for (&xid, writer) in committed.filter(|&(&xid, _)| to.sees(xid)) {
            let straggler = frontier.stragglers().iter().find(|s| s.xid == xid);
            let floor = match straggler {
                Some(straggler) => straggler.floor,
                None if xid >= frontier.new_from() => frontier.new_floor(),
                None => continue,
            };
            rows.extend(
                writer
                    .positions
                    .iter()
                    .filter(|&&p| p > floor.max(page.after) && p <= page.upto),
            );
        }
        rows.sort_unstable();
        let full = rows.len() >= limit;
        rows.truncate(limit);
        (rows, full)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Begin,
    Write(usize),
    Finish {
        which: usize,
        commit: bool,
    },
    Pair,
    Rotate,
    Deliver {
        page: usize,
        crash_after: Option<usize>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Begin),
        6 => (0_usize..8).prop_map(Step::Write),
        4 => (0_usize..8, prop::bool::weighted(0.8))
            .prop_map(|(which, commit)| Step::Finish { which, commit }),
        2 => Just(Step::Pair),
        1 => Just(Step::Rotate),
        3 => (1_usize..4, prop::option::of(0_usize..4))
            .prop_map(|(page, crash_after)| Step::Deliver { page, crash_after }),
    ]
}

/// Contents of a checkpoint.
#[derive(Debug, Clone)]
struct Recorded {
    delivered: Snapshot,
    frame: Option<(Snapshot, Position, Position)>,
}

/// Reads a frame to its end, or until `crash_after` rows were delivered and recorded.
fn deliver(
    server: &Server,
    floors: &Floors,
    recorded: &mut Recorded,
    page: usize,
    mut crash_after: Option<usize>,
    seen: &mut Vec<Position>,
) {
    let frontier = Frontier::of(&recorded.delivered, floors);
    let likely = frontier.likely_page();
    let (to, upper, after, ahead);
    if let Some((unfinished, bound, watermark)) = recorded.frame.take() {
        (to, upper, after, ahead) = (unfinished, bound, Some(watermark), None);
    } else {
        // The first page is read together with the snapshot.
        (to, upper, after) = (server.snapshot(), server.sequence, None);
        ahead = Some(server.page(&frontier, &to, likely, page));
    }
    let mut frame = Frame::new(frontier, to.clone(), upper, after);
    let mut ahead = ahead.filter(|_| frame.begins_in(likely));
    while let Some(request) = frame.next_page() {
        let read = || server.page(frame.frontier(), &to, request, page);
        let (rows, full) = ahead.take().unwrap_or_else(read);
        for &row in &rows {
            if crash_after == Some(0) {
                let watermark = seen
                    .last()
                    .copied()
                    .filter(|p| Some(*p) >= after)
                    .unwrap_or(0);
                let watermark = after.map_or(watermark, |after| watermark.max(after));
                recorded.frame = Some((to, upper, if watermark < row { watermark } else { 0 }));
                return;
            }
            crash_after = crash_after.map(|left| left - 1);
            seen.push(row);
        }
        frame.advance(request, rows.last().copied(), full);
    }
    recorded.delivered = to;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn g1_g3_frames_deliver_every_committed_row_and_no_other(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut server = Server::default();
        let mut floors = Floors::default();
        let mut recorded = Recorded { delivered: Snapshot::beginning(), frame: None };
        let mut seen = Vec::new();
        for step in steps {
            let open = server.open();
            match step {
                Step::Begin => {
                    server.begin();
                }
                Step::Write(which) if !open.is_empty() => {
                    server.sequence += 1;
                    let position = server.sequence;
                    let writer = server.writers.get_mut(&open[which % open.len()]).unwrap();
                    writer.positions.push(position);
                }
                Step::Finish { which, commit } if !open.is_empty() => {
                    let writer = server.writers.get_mut(&open[which % open.len()]).unwrap();
                    (writer.finished, writer.committed) = (true, commit);
                }
                Step::Pair => {
                    let position = server.sequence;
                    let xid = server.begin();
                    server.writers.get_mut(&xid).unwrap().finished = true;
                    floors.add(Pair { xid, position }, recorded.delivered.xmin());
                }
                Step::Rotate => server.sequence = segment_end(segment_of(server.sequence)) + 1,
                Step::Deliver { page, crash_after } => {
                    deliver(&server, &floors, &mut recorded, page, crash_after, &mut seen);
                }
                Step::Write(_) | Step::Finish { .. } => {}
            }
        }
        for xid in server.open() {
            let writer = server.writers.get_mut(&xid).unwrap();
            (writer.finished, writer.committed) = (true, true);
        }
        // Once to end an unfinished frame, once for the rows committed since.
        deliver(&server, &floors, &mut recorded, 3, None, &mut seen);
        deliver(&server, &floors, &mut recorded, 3, None, &mut seen);
        let mut committed: Vec<Position> = server
            .writers
            .values()
            .filter(|w| w.committed)
            .flat_map(|w| w.positions.iter().copied())
            .collect();
        committed.sort_unstable();
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen, committed);
    }
}
