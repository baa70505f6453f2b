//! Reads pages of `outbox.message`: of a frame, and of the walk after a rebase.

mod limit;
mod rows;
mod statements;

use futures_util::TryStreamExt as _;
use relay_core::capture::{Frame, Frontier, Page, Position};
use sqlx::{PgConnection, Postgres, Row as _, ValueRef as _, postgres::PgArguments};

pub(crate) use limit::PageLimit;
pub(crate) use rows::PageRows;
pub(crate) use statements::{
    BODIES, FRAME_PAGE, LOOK_AND_NEW_PAGE, LOOK_AND_PAGE, NEW_PAGE, WALK_PAGE,
};

use self::rows::{COLUMNS, Incoming};
use super::server::Look;

/// Takes a snapshot and reads the page of it that the frontier expects, in one statement.
pub(crate) async fn look_and_page(
    connection: &mut PgConnection,
    frontier: &Frontier,
    lane: i16,
    limit: PageLimit,
) -> sqlx::Result<(Look, PageRows)> {
    let page = frontier.likely_page();
    let statements = if frontier.stragglers().is_empty() {
        LOOK_AND_NEW_PAGE
    } else {
        LOOK_AND_PAGE
    };
    let query = bind(statements[page.leaf()], frontier, page, lane, limit);
    let query = bind_stragglers(query, frontier);
    let (mut look, mut flushed): (Option<Look>, i64) = (None, 0);
    let mut rows = Incoming::new(limit);
    let mut stream = query.fetch(&mut *connection);
    while let Some(row) = stream.try_next().await? {
        if row.try_get_raw(0)?.is_null() {
            match look {
                None => look = Some(Look::read(&row, COLUMNS)?),
                Some(_) => flushed = row.try_get(COLUMNS + 2)?,
            }
        } else {
            rows.read(&row)?;
        }
    }
    drop(stream);
    let mut look = look.ok_or(sqlx::Error::RowNotFound)?;
    look.flushed = look.flushed.max(flushed);
    Ok((look, rows.with_bodies(connection, page).await?))
}

/// Reads a page of a frame.
pub(crate) async fn page(
    connection: &mut PgConnection,
    frame: &Frame,
    page: Page,
    lane: i16,
    limit: PageLimit,
) -> sqlx::Result<PageRows> {
    let frontier = frame.frontier();
    let query = if frame.is_walk() {
        sqlx::query(WALK_PAGE[page.leaf()])
            .bind(page.after)
            .bind(page.upto)
            .bind(lane)
            .bind(limit.asked())
            .bind(limit.largest())
    } else {
        let statements = if frontier.stragglers().is_empty() {
            NEW_PAGE
        } else {
            FRAME_PAGE
        };
        let query = bind(statements[page.leaf()], frontier, page, lane, limit);
        bind_stragglers(query.bind(frame.to().to_string()), frontier)
    };
    let mut rows = Incoming::new(limit);
    let mut stream = query.fetch(&mut *connection);
    while let Some(row) = stream.try_next().await? {
        rows.read(&row)?;
    }
    drop(stream);
    rows.with_bodies(connection, page).await
}

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// Binds the parameters that all pages of a frame have.
fn bind(
    statement: &'static str,
    frontier: &Frontier,
    page: Page,
    lane: i16,
    limit: PageLimit,
) -> Query {
    sqlx::query(statement)
        .bind(page.after)
        .bind(page.upto)
        .bind(lane)
        .bind(frontier.new_floor())
        .bind(frontier.new_from().to_string())
        .bind(limit.asked())
        .bind(limit.largest())
}

/// Binds the further parameters of a frontier with stragglers.
fn bind_stragglers(query: Query, frontier: &Frontier) -> Query {
    let stragglers = frontier.stragglers();
    if stragglers.is_empty() {
        return query;
    }
    let xids: Vec<String> = stragglers.iter().map(|s| s.xid.to_string()).collect();
    let floors: Vec<Position> = stragglers.iter().map(|s| s.floor).collect();
    query.bind(xids).bind(floors)
}
