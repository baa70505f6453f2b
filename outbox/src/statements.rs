//! All statements of this crate, for the test that prepares them against a real schema as the unprivileged
//! role.
//!
//! Not part of the public interface.

use crate::{schema, sql};

/// All statements with their names.
pub const ALL: &[(&str, &str)] = &[
    ("schema::VERSION", schema::VERSION),
    ("sql::INSERT_ALL", sql::INSERT_ALL),
    ("sql::INSERT_ONE", sql::INSERT_ONE),
    ("sql::LOCK_KEYS", sql::LOCK_KEYS),
];
