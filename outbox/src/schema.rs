//! Check that this release can work with the version of the database's schema.

use migrations::SCHEMA_VERSION;
use sqlx::{PgConnection, Row as _};

/// Reason why this release cannot use the database's schema.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// There is no schema `outbox`.
    #[error(
        "the database has no Postroom schema; apply migrations/*.sql or run `relay migrate`, and grant the roles of migrations/roles.sql"
    )]
    Missing,

    /// The user may not use the schema `outbox`.
    #[error(
        "this user may not use the database's Postroom schema; GRANT outbox_producer, inbox_consumer or outbox_relay to it, as migrations/roles.sql makes them"
    )]
    Denied(#[source] sqlx::Error),

    /// The schema is older than this release needs.
    #[error(
        "the database's Postroom schema is at version {found}, this release needs {SCHEMA_VERSION}; apply the newer files of migrations/ or run `relay migrate`"
    )]
    Old {
        /// Version of the database's schema.
        found: i32,
    },

    /// The schema is newer than this release, which cannot work with it.
    #[error(
        "the database's Postroom schema is at version {found}, this release knows up to {SCHEMA_VERSION}; use a newer release"
    )]
    New {
        /// Version of the database's schema.
        found: i32,
    },

    /// The query of the schema's version failed.
    #[error("asking the database for its Postroom schema version")]
    Database(#[source] sqlx::Error),
}

pub(crate) const VERSION: &str = "
SELECT outbox.schema_version(), pg_catalog.to_regprocedure('outbox.schema_level()') IS NOT NULL";

pub(crate) const LEVEL: &str = "SELECT outbox.schema_level()";

/// Checks that the schema has the version that this release needs, or a newer one with which this release can work.
///
/// # Errors
/// Returns the problem and its remedy.
pub async fn check(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let (compatible_from, level) = versions(connection).await.map_err(|error| {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            // invalid_schema_name, undefined_function
            Some("3F000" | "42883") => SchemaError::Missing,
            // insufficient_privilege
            Some("42501") => SchemaError::Denied(error),
            _ => SchemaError::Database(error),
        }
    })?;
    if level < SCHEMA_VERSION {
        return Err(SchemaError::Old { found: level });
    }
    if compatible_from > SCHEMA_VERSION {
        return Err(SchemaError::New { found: level });
    }
    Ok(())
}

/// Returns the oldest version whose releases can work with the schema, and the schema's version.
async fn versions(connection: &mut PgConnection) -> Result<(i32, i32), sqlx::Error> {
    // Simple queries: the only kind that every pooler accepts outside of a transaction.
    let row = sqlx::raw_sql(VERSION).fetch_one(&mut *connection).await?;
    let (compatible_from, has_level): (i32, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !has_level {
        // Before version 3 the two were one.
        return Ok((compatible_from, compatible_from));
    }
    let row = sqlx::raw_sql(LEVEL).fetch_one(connection).await?;
    Ok((compatible_from, row.try_get(0)?))
}
