//! A frame in a relay's memory.

use relay_core::{
    capture::{Frame, Page, Position},
    publish::FrameId,
};

use crate::{database::Database, writer::MessageId};

/// Number of rows in a page: the smallest, so that frames are read in several pages.
const PAGE_ROWS: usize = 1;

/// Delivery state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RowState {
    /// The row waits to be sent.
    Waiting,
    /// The broker has the row; its confirm is under way.
    Sent,
    /// The row is confirmed.
    Confirmed,
}

/// A row in a relay's memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) position: Position,
    pub(crate) message: MessageId,
    pub(crate) key: u8,
    pub(crate) xid: u64,
    pub(crate) state: RowState,
}

/// A frame that has been read and is not recorded as delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OpenFrame {
    pub(crate) id: FrameId,
    /// `true` if a crash can no longer undo the transactions visible in the frame's snapshot.
    pub(crate) durable: bool,
    pub(crate) rows: Vec<Row>,
}

impl OpenFrame {
    pub(crate) fn is_finished(&self) -> bool {
        self.rows.iter().all(|row| row.state == RowState::Confirmed)
    }

    /// Returns the position of the last row of the longest confirmed prefix.
    pub(crate) fn watermark(&self) -> Option<Position> {
        let confirmed = self
            .rows
            .iter()
            .take_while(|row| row.state == RowState::Confirmed);
        confirmed.last().map(|row| row.position)
    }
}

/// Reads a frame to its end, page by page, as the relay's reader does.
pub(crate) fn read(database: &Database, mut frame: Frame) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(request) = frame.next_page() {
        let page = read_page(database, &frame, request);
        let full = page.len() >= PAGE_ROWS;
        frame.advance(request, page.last().map(|row| row.position), full);
        rows.extend(page);
    }
    rows
}

/// Returns the rows that the relay's statement selects. The statement runs after the frame's snapshot was
/// taken, so the snapshot decides which of the rows committed by now belong to the frame.
fn read_page(database: &Database, frame: &Frame, page: Page) -> Vec<Row> {
    let frontier = frame.frontier();
    let is_selected = |row: &Row| {
        let is_new = row.xid >= frontier.new_from()
            && row.position > frontier.new_floor()
            && frame.to().sees(row.xid);
        let is_straggler = || {
            let mut stragglers = frontier.stragglers().iter();
            stragglers.any(|late| late.xid == row.xid && row.position > late.floor)
        };
        row.position > page.after && row.position <= page.upto && (is_new || is_straggler())
    };
    let mut rows: Vec<Row> = committed_rows(database).filter(is_selected).collect();
    rows.sort_unstable_by_key(|row| row.position);
    rows.truncate(PAGE_ROWS);
    rows
}

/// Returns all rows of `outbox.message` that a new statement sees, in no order.
pub(crate) fn committed_rows(database: &Database) -> impl Iterator<Item = Row> {
    let writers = database.writers.iter().enumerate();
    let committed = writers.filter(|(_, writer)| writer.is_committed());
    committed.flat_map(|(number, writer)| {
        let numbered = writer.rows.iter().enumerate();
        numbered.map(move |(index, &position)| Row {
            position,
            message: (number, index),
            key: writer.key,
            xid: writer.xid.unwrap_or(0),
            state: RowState::Waiting,
        })
    })
}
