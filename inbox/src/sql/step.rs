//! Whether a session answers what it is asked.
//!
//! A COPY that is given up midway, in or out, leaves an answer behind that sqlx (0.9) does not wait for: each later
//! request gets the answer to the one before it. A commit would be believed that has not been made, and a session
//! that goes back to its pool like this fails whoever comes next.

use outbox::link::Link;
use sqlx::{AssertSqlSafe, Row as _};

pub(crate) const END: &str =
    "ROLLBACK; SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";

/// The error of a request that was answered with something else.
pub(crate) fn lost() -> sqlx::Error {
    sqlx::Error::Protocol(
        "the session answers earlier requests: a handler gave up a COPY before its end".to_owned(),
    )
}

/// Whether a request was answered with something else than was asked.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Protocol(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
    )
}

/// Fails if the session answers something else than it is asked. What it is to say is nothing that it has said
/// before.
pub(crate) async fn check(link: &mut Link<'_>, word: &str) -> Result<(), sqlx::Error> {
    let said = format!("in step: {word}");
    let text = format!("SELECT '{said}'");
    let request = sqlx::raw_sql(AssertSqlSafe(text)).fetch_optional(link.connection());
    match request.await?.map(|row| row.try_get::<String, _>(0)) {
        Some(Ok(answer)) if answer == said => Ok(()),
        _ => Err(lost()),
    }
}

/// Ends the session, whatever it answers.
pub(crate) async fn end(link: &mut Link<'_>) {
    drop(sqlx::raw_sql(END).execute(link.connection()).await);
}
