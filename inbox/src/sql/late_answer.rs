//! Late answers: detects sessions that answer an earlier request instead of the current one.
//!
//! A COPY, in or out, that a handler abandons leaves an unread answer behind, and sqlx (0.9) does not discard it: each
//! later request receives the answer to the request before it. The inbox could take a transaction for committed that
//! is not, and if such a session returned to its pool, its next user would fail.

use sqlx::{AssertSqlSafe, Row as _};
use statement::Link;

pub(crate) const END: &str =
    "ROLLBACK; SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";

/// Returns the error for a request that received the answer to an earlier one.
pub(crate) fn error() -> sqlx::Error {
    sqlx::Error::Protocol(
        "the session answers earlier requests: a handler gave up a COPY before its end".to_owned(),
    )
}

/// Returns `true` if a request received an answer of another shape than the request asks for: the answer to an earlier
/// request.
pub(crate) fn is_late(error: &sqlx::Error) -> bool {
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

/// Fails if the session answers an earlier request. `word` must be new to the session, so that no earlier answer can
/// match.
pub(crate) async fn check(link: &mut Link<'_>, word: &str) -> Result<(), sqlx::Error> {
    let said = format!("in step: {word}");
    let text = format!("SELECT '{said}'");
    let request = sqlx::raw_sql(AssertSqlSafe(text)).fetch_optional(link.connection());
    match request.await?.map(|row| row.try_get::<String, _>(0)) {
        Some(Ok(answer)) if answer == said => Ok(()),
        _ => Err(error()),
    }
}

/// Ends the session, and ignores its answer.
pub(crate) async fn end(link: &mut Link<'_>) {
    drop(sqlx::raw_sql(END).execute(link.connection()).await);
}
