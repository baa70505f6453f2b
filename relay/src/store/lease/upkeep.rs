//! Upkeep of the ring: new segments are begun, and old ones are emptied after their retention.
//!
//! The upkeep shares the lease's connection, which proves the lease and records what was delivered.
//! So its statements wait for no lock, and a refusal by the server does not end the session:
//! messages that were not recorded would all be published again, for work that can be done later.

use relay_core::capture::Position;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use crate::{
    config::Retention,
    events,
    store::{DatabaseError, segment, sql},
};

/// Result of beginning a segment.
enum Begun {
    NotDue,
    /// The next segment was begun: the number if by this relay, `None` if by another process.
    Next(Option<i64>),
    /// No leaf is free after this segment.
    Full(i64),
}

/// Does what is due and can be done. Fails only if the connection is lost.
pub(super) async fn maintain(
    connection: &mut PgConnection,
    retention: &Retention,
    settled_below: Position,
) -> sqlx::Result<()> {
    let mut refused = None;
    let mut tx = begin(connection).await?;
    let begun = begin_next(&mut tx, retention).await;
    match end(tx, begun, &mut refused).await? {
        Some(Begun::Next(Some(segment))) => events::Rotated { segment }.emit(),
        Some(Begun::Full(segment)) => events::RingFull { segment }.emit(),
        Some(Begun::NotDue | Begun::Next(None)) | None => {}
    }
    let keep = retention.keep.as_secs() as i64;
    let mut tx = begin(connection).await?;
    let expirable = segment::expirable(&mut tx, settled_below, keep).await;
    let expirable = end(tx, expirable, &mut refused).await?;
    // A separate transaction each: no process has to wait for one leaf while the next is emptied.
    for segment in expirable.unwrap_or_default() {
        let mut tx = begin(connection).await?;
        let expired = segment::expire(&mut tx, segment).await;
        if end(tx, expired, &mut refused).await?.is_some() {
            events::Expired { segment }.emit();
        }
    }
    if let Some(error) = refused {
        let error = DatabaseError::from(error);
        events::UpkeepRefused { error: &error }.emit();
    }
    Ok(())
}

/// Begins the next segment if the current one is old or full enough.
async fn begin_next(connection: &mut PgConnection, retention: &Retention) -> sqlx::Result<Begun> {
    let current = segment::current(connection).await?;
    if current.age_seconds.is_none() {
        segment::begun(connection, current.segment).await?;
    }
    let is_old = current.age_seconds.unwrap_or(0) >= retention.segment_age.as_secs() as i64;
    let is_full = current.used >= retention.segment_rows;
    if current.used == 0 || !(is_old || is_full) {
        return Ok(Begun::NotDue);
    }
    if !segment::next_is_free(connection, current.segment).await? {
        return Ok(Begun::Full(current.segment));
    }
    let rotated = segment::rotate(connection, current.segment).await?;
    Ok(Begun::Next(rotated.then_some(current.segment + 1)))
}

/// Begins a transaction whose statements wait for no lock.
async fn begin(connection: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    let mut tx = connection.begin().await?;
    sqlx::query(segment::LIMIT_LOCK_WAIT)
        .execute(&mut *tx)
        .await?;
    Ok(tx)
}

/// Commits the transaction if its statements succeeded, and rolls it back otherwise. Returns `None` if another process
/// holds a lock that the statements need, so that the next upkeep tries again, or if the server refused, and stores the
/// first refusal.
async fn end<T>(
    tx: Transaction<'_, Postgres>,
    done: sqlx::Result<T>,
    refused: &mut Option<sqlx::Error>,
) -> sqlx::Result<Option<T>> {
    let ended = match done {
        Ok(done) => tx.commit().await.map(|()| done),
        Err(error) => {
            // Rolled back at once: a dropped transaction would stay open until the next statement,
            // and the server would end it before. The rollback fails if the connection is lost,
            // whatever the server answered last.
            tx.rollback().await?;
            Err(error)
        }
    };
    match ended {
        Ok(done) => Ok(Some(done)),
        // lock not available
        Err(error) if sql::state(&error).as_deref() == Some("55P03") => Ok(None),
        Err(error) if error.as_database_error().is_some() => {
            refused.get_or_insert(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
