//! SQL statements of the relay: static text, one module per table.

/// Expands a statement for each of the sixteen leaves of `outbox.message`, because a table name cannot be a
/// parameter.
macro_rules! leaves {
    ($statement:ident) => {
        [
            $statement!("00"),
            $statement!("01"),
            $statement!("02"),
            $statement!("03"),
            $statement!("04"),
            $statement!("05"),
            $statement!("06"),
            $statement!("07"),
            $statement!("08"),
            $statement!("09"),
            $statement!("10"),
            $statement!("11"),
            $statement!("12"),
            $statement!("13"),
            $statement!("14"),
            $statement!("15"),
        ]
    };
}

pub(crate) mod checkpoint;
pub(crate) mod dropped;
pub(crate) mod holder;
pub(crate) mod lock;
pub(crate) mod message;
pub(crate) mod migration;
pub(crate) mod page;
pub(crate) mod parked;
pub(crate) mod pg_timestamp;
pub(crate) mod rights;
pub(crate) mod row_decode;
pub(crate) mod segment;
pub(crate) mod server;

/// Returns the SQLSTATE of an error that the server sent (PostgreSQL documentation, appendix A).
pub(crate) fn state(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}
