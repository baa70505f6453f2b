//! A service's database, and its consumer without a broker.

use inbox::{ConsumerBuilder, Context, Delivery, HandlerError};
use postroom_testkit::{Database, Login};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) customer: String,
    pub(crate) n: i64,
}

impl outbox::Event for Placed {
    const TOPIC: &'static str = "orders.placed";
    const VERSION: u32 = 2;

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Invoiced {
    pub(crate) n: i64,
}

impl outbox::Event for Invoiced {
    const TOPIC: &'static str = "billing.invoiced";

    fn key(&self) -> Option<String> {
        None
    }
}

pub(crate) fn placed(n: i64) -> Placed {
    Placed {
        customer: "anna".to_owned(),
        n,
    }
}

pub(crate) fn delivery(n: i64) -> Delivery {
    Delivery::of(&placed(n)).unwrap()
}

/// A database with a table of invoices.
pub(crate) struct World {
    /// Dropped after the pools that connect to it.
    database: Database,
    pub(crate) admin: PgPool,
    pub(crate) pool: PgPool,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Database::new().await;
        let table = "CREATE TABLE invoice (seq bigserial, n bigint NOT NULL)";
        database.ddl(table).await;
        let pool = |login| {
            let options = PgPoolOptions::new().max_connections(12);
            options.connect_lazy(&database.url(login)).unwrap()
        };
        Self {
            admin: pool(Login::Admin),
            pool: pool(Login::Consumer),
            database,
        }
    }

    pub(crate) async fn ddl(&self, sql: &str) {
        self.database.ddl(sql).await;
    }

    /// Begins a consumer at a broker that does not exist.
    pub(crate) fn consumer(&self) -> ConsumerBuilder {
        inbox::Consumer::builder("billing")
            .database(self.pool.clone())
            .amqp_url("amqp://guest:guest@localhost:1")
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql)
            .fetch_one(&self.admin)
            .await
            .unwrap()
    }

    /// Numbers of the invoices, in the order in which they were written.
    pub(crate) async fn invoices(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT n FROM invoice ORDER BY seq")
            .fetch_all(&self.admin)
            .await
            .unwrap()
    }
}

/// Writes an invoice and publishes it.
pub(crate) async fn invoice(mut ctx: Context, order: Placed) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO invoice (n) VALUES ($1)")
        .bind(order.n)
        .execute(ctx.connection())
        .await?;
    ctx.publish(&Invoiced { n: order.n }).await?;
    Ok(())
}
