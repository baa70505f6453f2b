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

/// Whether the server knows no such user, password or database.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    // invalid_authorization_specification, invalid_catalog_name
    state(error).is_some_and(|state| state.starts_with("28") || state == "3D000")
}

/// Returns the SQLSTATE of an error that the server sent (PostgreSQL documentation, appendix A).
pub(crate) fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
