//! Sending SQL statements, prepared or unprepared.
//!
//! Outbox and inbox make all statements with parameters here, so that a service can choose unprepared ones for both.
//! Not part of Postroom's public interface.

use sqlx::{
    Connection as _, FromRow, PgConnection, Postgres, SqlSafeStr,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs, QueryScalar},
};

/// Preparation of statements: the server keeps a prepared statement under a name for its next use.
///
/// A pooler in transaction mode gives each transaction another server connection, which does not have the
/// names given on this connection. An unnamed statement is safe there within a transaction, and only there:
/// parsing and running it are two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statements {
    /// Named statements, parsed once for each connection.
    #[default]
    Prepared,
    /// Unnamed statements, parsed each time.
    Unprepared,
}

impl Statements {
    /// Returns `Prepared` if `prepared` is true, else `Unprepared`.
    pub const fn prepared(prepared: bool) -> Self {
        if prepared {
            Self::Prepared
        } else {
            Self::Unprepared
        }
    }

    /// Returns a sender of statements on a connection.
    pub const fn on(self, connection: &mut PgConnection) -> Link<'_> {
        Link {
            connection,
            statements: self,
        }
    }

    /// Returns a sender of statements within a transaction of sqlx.
    pub fn within(self, transaction: &mut PgConnection) -> Link<'_> {
        debug_assert!(
            transaction.is_in_transaction(),
            "an unnamed statement may reach another server connection outside of a transaction"
        );
        self.on(transaction)
    }
}

/// A connection and the way in which statements are sent on it.
#[derive(Debug)]
pub struct Link<'c> {
    connection: &'c mut PgConnection,
    statements: Statements,
}

impl Link<'_> {
    /// Returns the connection, on which the statements made here are executed.
    pub const fn connection(&mut self) -> &mut PgConnection {
        self.connection
    }

    /// Makes a statement without a result.
    pub fn query<'q>(&self, sql: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
        sqlx::query(sql).persistent(self.keeps())
    }

    /// Makes a statement that returns rows, each read as a `T`.
    pub fn query_as<'q, T>(&self, sql: impl SqlSafeStr) -> QueryAs<'q, Postgres, T, PgArguments>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        sqlx::query_as(sql).persistent(self.keeps())
    }

    /// Makes a statement that returns rows of one column.
    pub fn query_scalar<'q, T>(
        &self,
        sql: impl SqlSafeStr,
    ) -> QueryScalar<'q, Postgres, T, PgArguments>
    where
        (T,): for<'r> FromRow<'r, PgRow>,
    {
        sqlx::query_scalar(sql).persistent(self.keeps())
    }

    const fn keeps(&self) -> bool {
        matches!(self.statements, Statements::Prepared)
    }
}
