//! The rows of a database, and their differences.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::published;

/// Name of the published messages among the tables.
const OUTBOX: &str = "outbox.message";

/// Tables of users, with partitions by themselves. Temporary tables of sessions are none.
const TABLES: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('outbox', 'inbox', 'information_schema')
      AND n.nspname NOT LIKE 'pg\\_%'";

/// Rows as text, with the number of equal ones.
type Rows = BTreeMap<String, usize>;

/// All rows of the users' tables, and the published messages.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    tables: BTreeMap<String, Rows>,
}

impl Snapshot {
    /// Reads all tables that are no part of the inbox.
    pub(crate) async fn read(pool: &PgPool) -> Self {
        let mut snapshot = Self::default();
        let tables = sqlx::query(TABLES).fetch_all(pool).await;
        for table in tables.expect("reading the names of tables") {
            let table: String = table.get(0);
            let sql = format!("SELECT pg_catalog.to_jsonb(t)::text FROM {table} t");
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await;
            let rows = rows.unwrap_or_else(|error| {
                panic!("cannot read the table {table}: {error}; use a login that may read it")
            });
            let rows = rows.into_iter().map(|row| row.get::<String, _>(0));
            snapshot.add(&table, rows);
        }
        let messages = published::read(pool).await.into_iter();
        snapshot.add(OUTBOX, messages.map(|message| message.to_string()));
        snapshot
    }

    fn add(&mut self, table: &str, rows: impl Iterator<Item = String>) {
        let of_table = self.tables.entry(table.to_owned()).or_default();
        for row in rows {
            *of_table.entry(row).or_default() += 1;
        }
    }

    /// Returns a text that names each table and row that differs; empty if none does.
    pub(crate) fn changes(&self, after: &Self) -> String {
        let none = Rows::new();
        let names: BTreeSet<&String> = self.tables.keys().chain(after.tables.keys()).collect();
        let mut text = String::new();
        for name in names {
            let [before, after] =
                [self, after].map(|snapshot| snapshot.tables.get(name).unwrap_or(&none));
            if before == after {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {name}");
            for (sign, rows, others) in [('-', before, after), ('+', after, before)] {
                for (row, count) in rows {
                    let others = others.get(row).copied().unwrap_or_default();
                    for _ in others..*count {
                        let _ = write!(text, "\n    {sign} {row}");
                    }
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    fn snapshot(table: &str, rows: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(table, rows.iter().map(|&row| row.to_owned()));
        snapshot
    }

    #[test]
    fn each_row_that_differs_is_named() {
        let before = snapshot("public.t", &["a", "b", "b"]);
        let after = snapshot("public.t", &["b", "c"]);
        let changes = "\n  public.t\n    - a\n    - b\n    + c";
        assert_eq!(before.changes(&after), changes);
        assert_eq!(before.changes(&before), "");
        let new = snapshot("public.u", &["d"]);
        let changes = Snapshot::default().changes(&new);
        assert_eq!(changes, "\n  public.u\n    + d");
    }
}
