//! Statements on `outbox.dropped`; `checkpoint::RECORD_AND_DROP` inserts its rows.

use relay_core::{capture::Position, publish::Dropped};
use sqlx::PgConnection;

pub(crate) const FORGET_ABOVE: &str =
    "DELETE FROM outbox.dropped WHERE lane = $1 AND position > $2";

/// Deletes the records of drops above a position: the rows there are read again, and may be published.
pub(crate) async fn forget_above(
    connection: &mut PgConnection,
    lane: i16,
    position: Position,
) -> sqlx::Result<()> {
    let query = sqlx::query(FORGET_ABOVE).bind(lane).bind(position);
    query.execute(connection).await.map(drop)
}

/// Returns positions and reasons, as parameters.
pub(crate) fn columns(rows: &[Dropped]) -> (Vec<Position>, Vec<&'static str>) {
    let columns = rows.iter().map(|row| (row.position, row.reason.as_str()));
    columns.unzip()
}
