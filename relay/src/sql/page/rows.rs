//! The rows of a page, within its bounds.

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{BODIES, PageLimit};
use crate::{
    capture::{Page, Position},
    message::Message,
    publish::Row,
    sql::message::{self, Texts},
};

/// Columns of a row; those of a look follow.
pub(super) const COLUMNS: usize = 13;

/// Its body, NULL if it stayed behind, and the body's size.
const BODY: usize = 8;
const BODY_BYTES: usize = 12;

/// Rows of a page, and whether more may follow within its bounds.
#[derive(Debug)]
pub(crate) struct PageRows {
    pub(crate) rows: Vec<Row<Message>>,
    pub(crate) full: bool,
}

/// Rows as they arrive.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: PageLimit,
    rows: Vec<Row<Message>>,
    texts: Texts,
    /// Size of all of them, bodies that stayed behind included.
    bytes: i64,
    /// Which of the rows have theirs still to be fetched.
    without_body: Vec<usize>,
}

impl Incoming {
    pub(super) fn new(limit: PageLimit) -> Self {
        Self {
            limit,
            rows: Vec::new(),
            texts: Texts::default(),
            bytes: 0,
            without_body: Vec::new(),
        }
    }

    /// Takes a row, unless the rows before it fill the page.
    pub(super) fn read(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        if self.is_full() {
            return Ok(());
        }
        let body: Option<Vec<u8>> = row.try_get_unchecked(BODY)?;
        let stays_behind = body.is_none();
        let mut read = message::read(row, body.unwrap_or_default(), &mut self.texts)?;
        if stays_behind {
            read.bytes += row.try_get::<i32, _>(BODY_BYTES)? as usize;
            self.without_body.push(self.rows.len());
        }
        self.bytes += read.bytes as i64;
        self.rows.push(read);
        Ok(())
    }

    const fn is_full(&self) -> bool {
        self.rows.len() as i64 >= self.limit.asked() || self.bytes >= self.limit.bytes
    }

    /// Ends the page with the bodies that stayed behind.
    pub(super) async fn with_bodies(
        mut self,
        connection: &mut PgConnection,
        page: Page,
    ) -> Result<PageRows, sqlx::Error> {
        let full = self.is_full();
        debug_assert!(self.rows.is_sorted_by_key(|row| row.position));
        if !self.without_body.is_empty() {
            let position = |index: &usize| self.rows[*index].position;
            let positions: Vec<Position> = self.without_body.iter().map(position).collect();
            let mut bodies = sqlx::query_as::<_, (Position, Vec<u8>)>(BODIES[page.leaf()])
                .bind(positions)
                .fetch(connection);
            // One at a time: what arrives is copied.
            for index in self.without_body {
                let row = &mut self.rows[index];
                match bodies.try_next().await? {
                    Some((position, body)) if position == row.position => {
                        row.message.payload = body;
                    }
                    _ => return Err(gone(row.position)),
                }
            }
        }
        Ok(PageRows {
            rows: self.rows,
            full,
        })
    }
}

/// A row went between two statements: nobody but an operator removes what is not delivered.
fn gone(position: Position) -> sqlx::Error {
    sqlx::Error::Protocol(format!(
        "the message at position {position} of outbox.message disappeared while it was read"
    ))
}
