//! The statements of the inbox, one module per table.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

pub(crate) mod parked;
pub(crate) mod processed;
pub(crate) mod session;

/// Returns the SQLSTATE of an error that the server sent (PostgreSQL documentation, appendix A).
pub(crate) fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
