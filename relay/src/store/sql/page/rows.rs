//! Collects the rows of a page within its limits, and fetches large bodies afterwards.

use futures_util::TryStreamExt as _;
use relay_core::{
    capture::{Page, Position},
    publish::Row,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{BODIES, PageLimit};
use crate::store::{
    StoredMessage,
    message::{self, Texts},
};

/// Number of columns of a row; the columns of a look follow.
pub(super) const COLUMNS: usize = 13;

/// Columns of the body, NULL if the body is fetched later, and of the body's size.
const BODY: usize = 8;
const BODY_BYTES: usize = 12;

/// Rows of a page; `full` is `true` if more rows may follow.
#[derive(Debug)]
pub(crate) struct PageRows {
    pub(crate) rows: Vec<Row<StoredMessage>>,
    pub(crate) full: bool,
}

/// Rows of a page that is being read.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: PageLimit,
    rows: Vec<Row<StoredMessage>>,
    texts: Texts,
    /// Size of all rows in bytes, including bodies that are not fetched yet.
    bytes: i64,
    /// Indices of rows whose body is not fetched yet.
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

    /// Adds a row, unless the page is full already.
    pub(super) fn read(&mut self, row: &PgRow) -> sqlx::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        let body: Option<Vec<u8>> = row.try_get_unchecked(BODY)?;
        let lacks_body = body.is_none();
        let mut read = message::read(row, body.unwrap_or_default(), &mut self.texts)?;
        if lacks_body {
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

    /// Fetches the missing bodies and ends the page.
    pub(super) async fn with_bodies(
        mut self,
        connection: &mut PgConnection,
        page: Page,
    ) -> sqlx::Result<PageRows> {
        let full = self.is_full();
        debug_assert!(self.rows.is_sorted_by_key(|row| row.position));
        if !self.without_body.is_empty() {
            let position = |index: &usize| self.rows[*index].position;
            let positions: Vec<Position> = self.without_body.iter().map(position).collect();
            let mut bodies = sqlx::query_as::<_, (Position, Vec<u8>)>(BODIES[page.leaf()])
                .bind(positions)
                .fetch(connection);
            // Streamed one by one, because each body is copied when it is read.
            for index in self.without_body {
                let row = &mut self.rows[index];
                match bodies.try_next().await? {
                    Some((position, body)) if position == row.position => {
                        row.message.message.payload = body;
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

/// Returns the error for a row that disappeared between two statements: only an operator deletes undelivered rows.
fn gone(position: Position) -> sqlx::Error {
    sqlx::Error::Protocol(format!(
        "the message at position {position} of outbox.message disappeared while it was read"
    ))
}
