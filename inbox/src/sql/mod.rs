//! The statements of the inbox, one module per table.
//!
//! They run in the service's session and with its `search_path`, on which others may have put functions, operators
//! and types that have the same names and fit better. So every function and type is qualified, and every operator is
//! written as `OPERATOR(pg_catalog.…)`, with parentheses, since all operators written like that bind equally tight;
//! forms that look an operator up by themselves (`IN`, `LIKE`, `BETWEEN`, `IS DISTINCT FROM`, `NULLIF`, `USING`) are
//! not used. A test asks the server what each statement depends on.

pub(crate) mod parked;
pub(crate) mod processed;
pub(crate) mod session;
pub(crate) mod step;
