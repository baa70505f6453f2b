//! Pages of `outbox.message`: of a frame, and of the walk after a rebase.

mod statements;

use futures_util::TryStreamExt as _;
use sqlx::{
    PgConnection, Postgres, Row as _, ValueRef as _,
    postgres::{PgArguments, PgRow},
};

pub(crate) use statements::{FRAME_PAGE, LOOK_AND_PAGE, WALK_PAGE};

use super::{
    message::{self, Texts},
    server::Look,
};
use crate::{
    capture::{Frame, Frontier, Page, Position},
    message::Message,
    publish::Row,
};

/// Bounds of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

impl PageLimit {
    /// Whether one of the bounds ended a page, so that more may follow.
    pub(crate) fn is_reached_by<'a>(self, rows: impl Iterator<Item = &'a Row<Message>>) -> bool {
        let (count, bytes) = rows.fold((0, 0), |(count, bytes), row| {
            (count + 1, bytes + row.message.payload.len() as i64)
        });
        count >= self.rows || bytes >= self.bytes
    }
}

/// Rows of a page, and whether more may follow within its bounds.
#[derive(Debug)]
pub(crate) struct PageRows {
    pub(crate) rows: Vec<Row<Message>>,
    pub(crate) full: bool,
}

/// Columns of a message; those of a look follow.
const MESSAGE_COLUMNS: usize = 12;

/// Takes a snapshot and reads the frontier's likely page of it.
pub(crate) async fn look_and_page(
    connection: &mut PgConnection,
    frontier: &Frontier,
    lane: i16,
    limit: PageLimit,
) -> Result<(Look, PageRows), sqlx::Error> {
    let page = frontier.likely_page();
    let query = sqlx::query(LOOK_AND_PAGE[page.leaf()]);
    let query = bind(query, frontier, page, lane, limit);
    let (mut look, mut flushed): (Option<Look>, i64) = (None, 0);
    let mut rows = Rows::default();
    let mut stream = query.fetch(connection);
    while let Some(row) = stream.try_next().await? {
        if row.try_get_raw(0)?.is_null() {
            match look {
                None => look = Some(Look::read(&row, MESSAGE_COLUMNS)?),
                Some(_) => flushed = row.try_get(MESSAGE_COLUMNS + 2)?,
            }
        } else {
            rows.read(&row)?;
        }
    }
    let mut look = look.ok_or(sqlx::Error::RowNotFound)?;
    look.flushed = look.flushed.max(flushed);
    Ok((look, rows.within(limit)))
}

/// Reads a page of a frame.
pub(crate) async fn page(
    connection: &mut PgConnection,
    frame: &Frame,
    page: Page,
    lane: i16,
    limit: PageLimit,
) -> Result<PageRows, sqlx::Error> {
    let query = if frame.is_walk() {
        sqlx::query(WALK_PAGE[page.leaf()])
            .bind(page.after)
            .bind(page.upto)
            .bind(lane)
            .bind(limit.rows)
            .bind(limit.bytes)
    } else {
        let query = sqlx::query(FRAME_PAGE[page.leaf()]);
        bind(query, frame.frontier(), page, lane, limit).bind(frame.to().to_string())
    };
    let mut rows = Rows::default();
    let mut stream = query.fetch(connection);
    while let Some(row) = stream.try_next().await? {
        rows.read(&row)?;
    }
    Ok(rows.within(limit))
}

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// Binds the parameters that all pages beyond a frontier have.
fn bind(query: Query, frontier: &Frontier, page: Page, lane: i16, limit: PageLimit) -> Query {
    let stragglers = frontier.stragglers();
    let xids: Vec<String> = stragglers.iter().map(|s| s.xid.to_string()).collect();
    let floors: Vec<Position> = stragglers.iter().map(|s| s.floor).collect();
    query
        .bind(page.after)
        .bind(page.upto)
        .bind(lane)
        .bind(frontier.new_floor())
        .bind(frontier.new_from().to_string())
        .bind(xids)
        .bind(floors)
        .bind(limit.rows)
        .bind(limit.bytes)
}

/// Rows as they arrive.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Row<Message>>,
    texts: Texts,
}

impl Rows {
    fn read(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        self.rows.push(message::read(row, &mut self.texts)?);
        Ok(())
    }

    fn within(self, limit: PageLimit) -> PageRows {
        let rows = self.rows;
        debug_assert!(rows.is_sorted_by_key(|row| row.position));
        let full = limit.is_reached_by(rows.iter());
        PageRows { rows, full }
    }
}
