//! SQL statements of the inbox, one module per table.
//!
//! The statements run in the service's session and with its `search_path`. Another user may have put functions,
//! operators and types of the same names on that path, which PostgreSQL would prefer if they match better. So every
//! function and type is qualified, and every operator is written as `OPERATOR(pg_catalog.…)`, with parentheses,
//! because all operators written like that have the same precedence. Forms that look up an operator implicitly (`IN`,
//! `LIKE`, `BETWEEN`, `IS DISTINCT FROM`, `NULLIF`, `USING`) are not used. A test asks the server on which objects
//! each statement depends.

pub(crate) mod idempotency;
pub(crate) mod late_answer;
pub(crate) mod parked;
pub(crate) mod partitions;
pub(crate) mod processed;
pub(crate) mod replies;
pub(crate) mod session;
pub(crate) mod waiting;
