//! The ring's upkeep: segments are begun, and emptied after their retention.
//!
//! It shares the lease's connection, which proves the lease and records what was delivered. So it waits for
//! nobody, and what the server refuses costs no session: messages that were not recorded would all be
//! published again, for work that another time can do.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use crate::{
    capture::Position,
    config::Retention,
    events,
    sql::{self, segment},
};

/// What beginning a segment came to.
enum Begun {
    NotDue,
    /// This one, or somebody else did.
    Next(Option<i64>),
    /// No leaf is free after this one.
    Full(i64),
}

/// What the server said to one step.
enum Answer<T> {
    Done(T),
    /// Somebody holds what it needs: another time.
    Later,
    Refused(sqlx::Error),
}

/// Does what is due and can be done. An error is that of a lost connection.
pub(super) async fn maintain(
    connection: &mut PgConnection,
    retention: &Retention,
    settled_below: Position,
) -> Result<(), sqlx::Error> {
    let mut refused = None;
    let mut tx = begin(connection).await?;
    let begun = begin_next(&mut tx, retention).await;
    match end(tx, begun).await? {
        Answer::Done(Begun::Next(Some(segment))) => events::Rotated { segment }.emit(),
        Answer::Done(Begun::Full(segment)) => events::RingFull { segment }.emit(),
        Answer::Done(Begun::NotDue | Begun::Next(None)) | Answer::Later => {}
        Answer::Refused(error) => refused = Some(error),
    }
    let keep = retention.keep.as_secs() as i64;
    let mut tx = begin(connection).await?;
    let expirable = segment::expirable(&mut tx, settled_below, keep).await;
    let expirable = match end(tx, expirable).await? {
        Answer::Done(expirable) => expirable,
        Answer::Later => Vec::new(),
        Answer::Refused(error) => {
            refused.get_or_insert(error);
            Vec::new()
        }
    };
    // Of its own each: nobody shall wait for one leaf while the next is emptied.
    for segment in expirable {
        let mut tx = begin(connection).await?;
        let expired = segment::expire(&mut tx, segment).await;
        match end(tx, expired).await? {
            Answer::Done(()) => events::Expired { segment }.emit(),
            Answer::Later => {}
            Answer::Refused(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    if let Some(error) = refused {
        let error = error.into();
        events::UpkeepRefused { error }.emit();
    }
    Ok(())
}

/// Moves on to the next segment if this one is old or full enough.
async fn begin_next(
    connection: &mut PgConnection,
    retention: &Retention,
) -> Result<Begun, sqlx::Error> {
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

/// Begins a transaction whose statements wait for nobody's lock.
async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::query(segment::STEP_BACK).execute(&mut *tx).await?;
    Ok(tx)
}

/// Ends a transaction as its statements did.
async fn end<T>(
    tx: Transaction<'_, Postgres>,
    done: Result<T, sqlx::Error>,
) -> Result<Answer<T>, sqlx::Error> {
    let ended = match done {
        Ok(done) => tx.commit().await.map(|()| done),
        Err(error) => {
            // At once: dropped, it would be open until the next statement, and the server ends it before.
            // It fails if the connection is lost, whatever the server said last.
            tx.rollback().await?;
            Err(error)
        }
    };
    match ended {
        Ok(done) => Ok(Answer::Done(done)),
        // lock not available
        Err(error) if sql::state(&error).as_deref() == Some("55P03") => Ok(Answer::Later),
        Err(error) if error.as_database_error().is_some() => Ok(Answer::Refused(error)),
        Err(error) => Err(error),
    }
}
