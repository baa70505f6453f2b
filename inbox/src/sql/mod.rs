//! The statements of the inbox, one module per table.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

/// Bounds, for the rest of the transaction, how long it waits for others and how long it may stay open
/// without a statement. A client that gives up waiting leaves its statement waiting at the server, and one
/// that is frozen or cut off leaves its transaction open: either would last for hours. What the session
/// sets for itself is left alone.
macro_rules! patience {
    ($millis:literal) => {
        concat!(
            "SELECT CASE WHEN current_setting('lock_timeout') = '0'
                 THEN set_config('lock_timeout', ",
            $millis,
            ", true) END,
            CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
                 THEN set_config('idle_in_transaction_session_timeout', ",
            $millis,
            ", true) END"
        )
    };
}

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

/// Returns the SQLSTATE of an error that the server sent (PostgreSQL documentation, appendix A).
pub(crate) fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
