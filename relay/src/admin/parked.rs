//! Parked messages: listed, shown, tried again or discarded.

use std::{collections::HashSet, time::Duration};

use relay_core::capture::Position;
use serde_json::value::RawValue;
use sqlx::PgConnection;

use super::ANSWER_TIMEOUT;
use crate::store::{DatabaseError, answer, parked::operate};

pub(crate) use operate::{Filter, ParkedMessage, Selection};

/// Longest wait for a statement that marks parked messages: one statement may mark very many.
const MARK_TIMEOUT: Duration = Duration::from_mins(10);

/// Error of an action on parked messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParkedError {
    /// The database is unusable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No message is parked at the position.
    #[error("no message is parked at position {0}; see `relay parked list`")]
    NotParked(Position),
    /// Nothing was marked.
    #[error("no message is parked there, or it was discarded before; see `relay parked list`")]
    NoneParked,
    /// Some messages were marked, but not one for each position.
    #[error(
        "no message is parked there, or it was discarded before ({missing} of the positions; the others are done); see `relay parked list`"
    )]
    SomeMissing {
        /// Number of positions without a parked message.
        missing: usize,
    },
}

/// Lists parked messages, oldest first.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
) -> Result<Vec<ParkedMessage>, DatabaseError> {
    check_schema(connection).await?;
    answer::within(ANSWER_TIMEOUT, operate::list(connection, filter)).await
}

/// Returns a parked message with its headers and body, as a JSON document.
pub(crate) async fn show(
    connection: &mut PgConnection,
    position: Position,
) -> Result<Box<RawValue>, ParkedError> {
    check_schema(connection).await?;
    let shown = answer::within(ANSWER_TIMEOUT, operate::show(connection, position)).await?;
    shown.ok_or(ParkedError::NotParked(position))
}

/// Makes the selected messages due at once, and returns their number.
pub(crate) async fn retry(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<i64, ParkedError> {
    mark(connection, operate::RETRY, selection).await
}

/// Gives up the selected messages for good, and returns their number.
pub(crate) async fn discard(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<i64, ParkedError> {
    mark(connection, operate::DISCARD, selection).await
}

async fn mark(
    connection: &mut PgConnection,
    statement: &'static str,
    selection: &Selection,
) -> Result<i64, ParkedError> {
    check_schema(connection).await?;
    let marking = operate::mark(connection, statement, selection);
    let marked = answer::within(MARK_TIMEOUT, marking).await?;
    check_found(selection, usize::try_from(marked).unwrap_or_default())?;
    Ok(marked)
}

/// Fails if nothing is parked at one of the positions. Messages chosen by their reason stand for missing ones, because
/// they cannot be told apart.
fn check_found(selection: &Selection, found: usize) -> Result<(), ParkedError> {
    let asked = selection.positions.iter().collect::<HashSet<_>>().len();
    match (found, &selection.reason) {
        (0, _) if asked > 0 => Err(ParkedError::NoneParked),
        (_, None) if found < asked => Err(ParkedError::SomeMissing {
            missing: asked - found,
        }),
        _ => Ok(()),
    }
}

async fn check_schema(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    answer::within(ANSWER_TIMEOUT, outbox::schema::check(connection)).await
}
