//! Meaning of errors that the database's server or its connection reports.

use std::{borrow::Cow, error::Error};

use postroom_message::errors::sources;
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

/// Returns `true` if the server ended the session or its connection.
pub(crate) fn ends_session(error: &(dyn DatabaseError + 'static)) -> bool {
    // connection_exception, operator_intervention, transaction_resolution_unknown,
    // idle_in_transaction_session_timeout, transaction_timeout
    let code = error.code();
    let code = code.as_deref().unwrap_or_default();
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "40003" | "25P03" | "25P04")
}

/// Iterates over the server's errors in a chain of sources. Transparent errors and `anyhow` errors hide the
/// client's error, but show its source, the server's error.
pub(crate) fn refusals<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn DatabaseError + 'static)> {
    sources(error).filter_map(|source| {
        let outer = source.downcast_ref::<sqlx::Error>();
        let inner = source.downcast_ref::<Box<dyn DatabaseError>>();
        outer
            .and_then(sqlx::Error::as_database_error)
            .or(inner.map(|refusal| &**refusal))
    })
}

/// Returns `true` if the server asks for the transaction to be repeated.
pub(crate) fn is_conflict(error: &(dyn DatabaseError + 'static)) -> bool {
    // serialization_failure, deadlock_detected
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
}

/// Returns `true` if the transaction is to run again although the handler did nothing wrong.
pub(crate) fn is_rerun(error: &(dyn Error + 'static)) -> bool {
    refusals(error).any(|refusal| is_conflict(refusal) || is_outdated(refusal))
}

/// Returns `true` if a table was changed so that a prepared statement returns other columns. The statement fails
/// until it is prepared again, which sqlx (0.9) never does.
pub(crate) fn is_outdated(error: &(dyn DatabaseError + 'static)) -> bool {
    // feature_not_supported. Error texts may be translated; names of server functions never are.
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| {
            error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
        })
}

/// Returns `true` if the session is gone, rather than a statement failed.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none_or(ends_session)
}

/// Returns the remedy for an error that looks temporary but is permanent; `None` for other errors.
pub(crate) fn advice(error: &sqlx::Error) -> Option<&'static str> {
    // duplicate_prepared_statement, invalid_sql_statement_name, protocol_violation (parameters that do not match
    // the statement of that name); insufficient_privilege
    match state(error).as_deref() {
        Some("42P05" | "26000" | "08P01") => Some(
            "a pool that leads to a pooler in transaction mode needs prepared_statements(false): see \"Poolers\" in docs/operations.md",
        ),
        Some("42501") => Some("grant inbox_consumer to the login (migrations/roles.sql)"),
        _ => amqp::explain(error),
    }
}

/// Returns `true` if the server refuses the user, the password or the database.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    // invalid_authorization_specification, invalid_catalog_name
    state(error).is_some_and(|state| state.starts_with("28") || state == "3D000")
}

/// Returns the SQLSTATE of an error that the server sent (PostgreSQL documentation, appendix A).
pub(crate) fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
