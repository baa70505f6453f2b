//! The statements of the inbox, one module per table.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

pub(crate) mod parked;
pub(crate) mod processed;
pub(crate) mod session;

/// Whether the server ended the session, or its client's connection.
pub(crate) fn has_ended(error: &(dyn DatabaseError + 'static)) -> bool {
    // connection_exception, operator_intervention, transaction_resolution_unknown,
    // idle_in_transaction_session_timeout, transaction_timeout
    let code = error.code();
    let code = code.as_deref().unwrap_or_default();
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "40003" | "25P03" | "25P04")
}

/// Whether an error says that the session is gone, and not that a statement failed.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none_or(has_ended)
}

/// What to do about an error that will not pass by itself, although it might.
pub(crate) fn advice(error: &sqlx::Error) -> Option<&'static str> {
    // duplicate_prepared_statement, invalid_sql_statement_name, protocol_violation (other parameters than the
    // statement of that name has), insufficient_privilege
    match state(error).as_deref() {
        Some("42P05" | "26000" | "08P01") => Some(
            "a pool that leads to a pooler in transaction mode needs prepared_statements(false): see \"Poolers\" in docs/operations.md",
        ),
        Some("42501") => Some("grant inbox_consumer to the login (migrations/roles.sql)"),
        _ => None,
    }
}

/// Whether the server knows no such user, password or database.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    // invalid_authorization_specification, invalid_catalog_name
    state(error).is_some_and(|state| state.starts_with("28") || state == "3D000")
}

/// Returns the SQLSTATE of an error that the server sent (PostgreSQL documentation, appendix A).
pub(crate) fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
