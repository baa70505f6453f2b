//! Every SQL statement that this crate runs, for administrators who want to know what runs in their database.
//!
//! Texts and names may change with any release.

use crate::{schema, sql};

/// Statements with their names.
pub const ALL: &[(&str, &str)] = &[
    ("schema::LEVEL", schema::LEVEL),
    ("schema::VERSION", schema::VERSION),
    ("sql::INSERT_ALL", sql::INSERT_ALL),
    ("sql::INSERT_ONE", sql::INSERT_ONE),
    ("sql::LOCK_KEYS", sql::LOCK_KEYS),
    ("sql::SERVER_STATE", sql::SERVER_STATE),
];
