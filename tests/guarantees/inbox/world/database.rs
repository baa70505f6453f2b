//! A test's database, and queries about it.

use std::time::Duration;

use postroom_testkit::Login;
use sqlx::{PgPool, postgres::PgPoolOptions};
use url::Url;

/// A migrated database with a table for effects.
pub(crate) struct Database {
    /// Dropped after the pools that connect to it.
    database: postroom_testkit::Database,
    /// As the superuser: to look at things, and to make them hard.
    pub(crate) admin: PgPool,
}

impl Database {
    pub(crate) async fn new(database: postroom_testkit::Database) -> Self {
        let table =
            "CREATE TABLE effect (seq bigserial, n bigint NOT NULL, customer text NOT NULL)";
        database.ddl(table).await;
        let options = PgPoolOptions::new().max_connections(4);
        Self {
            admin: options.connect_lazy(&database.url(Login::Admin)).unwrap(),
            database,
        }
    }

    /// Returns a pool of the unprivileged role of consumers.
    pub(crate) fn pool(&self, connections: u32) -> PgPool {
        Self::pool_at(&self.url(), connections)
    }

    /// Returns such a pool that connects to another port.
    pub(crate) fn pool_through(&self, port: u16, connections: u32) -> PgPool {
        let mut url = self.url();
        url.set_port(Some(port)).unwrap();
        Self::pool_at(&url, connections)
    }

    /// Returns the URL of the unprivileged role of consumers.
    pub(crate) fn url(&self) -> Url {
        self.database.url(Login::Consumer).parse().unwrap()
    }

    pub(crate) fn pool_at(url: &Url, connections: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy(url.as_str())
            .unwrap()
    }

    pub(crate) fn address(&self) -> (String, u16) {
        let url = self.url();
        let host = url.host_str().unwrap().to_owned();
        (host, url.port().unwrap_or(5432))
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.admin).await.unwrap();
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.admin)
            .await
            .unwrap()
    }

    pub(crate) async fn texts(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&self.admin)
            .await
            .unwrap()
    }

    /// Returns the effects that handlers left for a customer, in the order in which they ran.
    pub(crate) async fn effects(&self, customer: &str) -> Vec<i64> {
        sqlx::query_scalar("SELECT n FROM effect WHERE customer = $1 ORDER BY seq")
            .bind(customer)
            .fetch_all(&self.admin)
            .await
            .unwrap()
    }

    /// Returns the parked rows as `reason/state/attempts/holds_key`.
    pub(crate) async fn parked(&self) -> Vec<String> {
        self.texts(
            "SELECT concat_ws('/', reason, state, attempts, holds_key) FROM inbox.parked ORDER BY id",
        )
        .await
    }
}
