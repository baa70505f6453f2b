//! Sending statements, prepared for their next use or not.
//!
//! No part of the public interface: the inbox sends its statements through it too.

use sqlx::{
    Connection as _, FromRow, PgConnection, Postgres, SqlSafeStr,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs, QueryScalar},
};

/// Whether the server keeps statements under a name, for their next use.
///
/// A pooler in transaction mode gives each transaction another server connection, which knows no
/// names given on this one. An unnamed statement is safe there within a transaction, and only
/// there: it is parsed and run in two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statements {
    /// Named, and parsed once for each connection.
    #[default]
    Prepared,
    /// Unnamed, and parsed each time.
    Unprepared,
}

impl Statements {
    /// Prepared or not.
    pub const fn prepared(prepared: bool) -> Self {
        if prepared {
            Self::Prepared
        } else {
            Self::Unprepared
        }
    }

    /// Sends statements on a connection.
    pub const fn on(self, connection: &mut PgConnection) -> Link<'_> {
        Link {
            connection,
            statements: self,
        }
    }

    /// Sends statements within a transaction of sqlx.
    pub fn within(self, transaction: &mut PgConnection) -> Link<'_> {
        debug_assert!(
            transaction.is_in_transaction(),
            "an unnamed statement may reach another server connection outside of a transaction"
        );
        self.on(transaction)
    }
}

/// A connection, and how statements are sent on it.
///
/// Every statement of the libraries that has parameters is made here.
#[derive(Debug)]
pub struct Link<'c> {
    connection: &'c mut PgConnection,
    statements: Statements,
}

impl Link<'_> {
    /// The connection, to send what was made here.
    pub const fn connection(&mut self) -> &mut PgConnection {
        self.connection
    }

    /// Makes a statement.
    pub fn query<'q>(&self, sql: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
        sqlx::query(sql).persistent(self.keeps())
    }

    /// Makes a statement that returns rows of a type.
    pub fn query_as<'q, T>(&self, sql: impl SqlSafeStr) -> QueryAs<'q, Postgres, T, PgArguments>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        sqlx::query_as(sql).persistent(self.keeps())
    }

    /// Makes a statement that returns one column.
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
