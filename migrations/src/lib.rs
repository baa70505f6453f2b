//! The migrations of Postroom's schemas, as text.
//!
//! The files beside this crate's manifest are plain SQL for `psql -f`. This crate embeds them, so that
//! `relay migrate` and tests apply exactly the files that a database administrator reads.

/// A numbered migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Version of the schema once this migration is applied (`outbox.schema_level()`).
    pub version: i32,
    /// File name without its ending, for example `0001_outbox`.
    pub name: &'static str,
    /// Contents of the file, including its own `BEGIN` and `COMMIT`.
    pub sql: &'static str,
}

/// All migrations, in the order in which they are applied.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_outbox",
        sql: include_str!("../0001_outbox.sql"),
    },
    Migration {
        version: 2,
        name: "0002_inbox",
        sql: include_str!("../0002_inbox.sql"),
    },
    Migration {
        version: 3,
        name: "0003_forgery",
        sql: include_str!("../0003_forgery.sql"),
    },
    Migration {
        version: 4,
        name: "0004_dropped",
        sql: include_str!("../0004_dropped.sql"),
    },
    Migration {
        version: 5,
        name: "0005_versions",
        sql: include_str!("../0005_versions.sql"),
    },
    Migration {
        version: 6,
        name: "0006_waiting",
        sql: include_str!("../0006_waiting.sql"),
    },
    Migration {
        version: 7,
        name: "0007_replies",
        sql: include_str!("../0007_replies.sql"),
    },
    Migration {
        version: 8,
        name: "0008_partitions",
        sql: include_str!("../0008_partitions.sql"),
    },
    Migration {
        version: 9,
        name: "0009_idempotency",
        sql: include_str!("../0009_idempotency.sql"),
    },
];

/// Optional roles and grants. They can be applied again.
pub const ROLES: &str = include_str!("../roles.sql");

/// Statements that remove both schemas with everything in them.
pub const DOWN: &str = include_str!("../down.sql");

/// Schema version that this release of the libraries and of the relay requires.
pub const SCHEMA_VERSION: i32 = 9;

#[cfg(test)]
mod tests {
    use super::{DOWN, MIGRATIONS, ROLES, SCHEMA_VERSION};

    #[test]
    fn versions_count_up_to_the_required_one() {
        let versions: Vec<i32> = MIGRATIONS.iter().map(|m| m.version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }

    #[test]
    fn every_file_sets_the_search_path_before_anything_is_looked_up() {
        let numbered = MIGRATIONS.iter().map(|migration| migration.sql);
        for sql in numbered.chain([ROLES, DOWN]) {
            let statements = sql.lines().filter(|line| !line.is_empty());
            let mut statements = statements.filter(|line| !line.starts_with("--"));
            assert_eq!(statements.next(), Some("BEGIN;"));
            let first = statements.next();
            assert_eq!(first, Some("SET LOCAL search_path = pg_catalog, pg_temp;"));
        }
    }

    #[test]
    fn every_function_has_the_search_path_of_its_own() {
        for migration in MIGRATIONS {
            let made = migration.sql.matches("CREATE FUNCTION").count();
            let replaced = migration.sql.matches("CREATE OR REPLACE FUNCTION").count();
            let paths = migration
                .sql
                .matches(" SET search_path = pg_catalog, pg_temp\n");
            assert_eq!(paths.count(), made + replaced, "{}", migration.name);
        }
    }

    #[test]
    fn every_file_records_its_version_in_one_transaction() {
        for migration in MIGRATIONS {
            let record = format!("VALUES ({}, '{}'", migration.version, migration.name);
            assert!(
                migration.sql.contains(&record),
                "{} does not record itself",
                migration.name
            );
            assert!(migration.sql.contains("\nBEGIN;\n") && migration.sql.ends_with("COMMIT;\n"));
            assert!(
                migration.sql.contains("-- Locks:"),
                "{} names no locks",
                migration.name
            );
        }
    }
}
