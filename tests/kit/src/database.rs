//! A database per test, migrated by psql as its owner.

mod psql;
mod template;

use migrations::MIGRATIONS;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, postgres::PgPoolOptions,
};
use url::Url;

use crate::{DEADLINE, unique, variable};
use psql::{psql, psql_command};
use template::{ensure_template, migrations_folder};

const PASSWORD: &str = "postroom";

/// Login of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Owns the schemas and the test's tables; no superuser.
    Owner,
    /// A service that publishes.
    Producer,
    /// A relay.
    Relay,
    /// A service that consumes and publishes.
    Consumer,
    /// The server's administrator, for what no role of ours may do.
    Admin,
}

impl Login {
    /// Logins that the tests create, with their options.
    const CREATED: [(Self, &'static str); 4] = [
        (Self::Owner, "CREATEROLE"),
        (Self::Producer, "IN ROLE outbox_producer"),
        (Self::Relay, "IN ROLE outbox_relay"),
        (Self::Consumer, "IN ROLE outbox_producer, inbox_consumer"),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Owner => "postroom_test_owner",
            Self::Producer => "postroom_test_producer",
            Self::Relay => "postroom_test_relay",
            Self::Consumer => "postroom_test_consumer",
            // The administrator's name is in the server's URL.
            Self::Admin => "",
        }
    }
}

/// A database of one test's own, dropped on its server when this value is dropped.
#[derive(Debug)]
pub struct Database {
    /// Name of the database.
    pub name: String,
    /// URL of the server's administrator.
    server: String,
}

impl Database {
    /// Makes a copy of the migrated template on the shared server.
    pub async fn new() -> Self {
        Self::new_on(&variable("POSTROOM_DATABASE_URL")).await
    }

    /// Makes a copy of the migrated template on the server of this administrator's URL.
    pub async fn new_on(server: &str) -> Self {
        let mut admin = PgConnection::connect(server)
            .await
            .expect("connecting to the server");
        let template = ensure_template(&mut admin, server).await;
        let name = unique("test");
        let owner = Login::Owner.name();
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}");
        admin
            .execute(AssertSqlSafe(sql))
            .await
            .expect("creating the test's database");
        Self {
            name,
            server: server.to_owned(),
        }
    }

    /// Returns the database of this name on another server: a standby, a copy, a restore. Dropping the returned value
    /// drops the database on that server.
    #[must_use]
    pub fn at(&self, server: &str) -> Self {
        Self {
            name: self.name.clone(),
            server: server.to_owned(),
        }
    }

    /// Makes an empty database, without Postroom's schemas. The logins exist.
    pub async fn empty() -> Self {
        Self::empty_with("").await
    }

    /// As [`Database::empty`], with additional options of `CREATE DATABASE`.
    pub async fn empty_with(options: &str) -> Self {
        let server = variable("POSTROOM_DATABASE_URL");
        let mut admin = PgConnection::connect(&server)
            .await
            .expect("connecting to the server");
        ensure_template(&mut admin, &server).await;
        let name = unique("test");
        let owner = Login::Owner.name();
        let sql = format!("CREATE DATABASE {name} OWNER {owner} {options}");
        admin
            .execute(AssertSqlSafe(sql))
            .await
            .expect("creating the test's database");
        Self { name, server }
    }

    /// Applies a file of `migrations/` as a database administrator would, as the owner.
    pub fn apply(&self, file: &str) {
        let file = migrations_folder().join(file);
        psql(&self.url(Login::Owner), |psql| psql.arg("-f").arg(&file));
    }

    /// Applies the migrations after this version.
    pub fn apply_after(&self, version: i32) {
        let later = MIGRATIONS.iter().filter(|later| later.version > version);
        for migration in later {
            self.apply(&format!("{}.sql", migration.name));
        }
    }

    /// URL of this database for a login.
    pub fn url(&self, login: Login) -> String {
        url_of(&self.server, &self.name, login)
    }

    /// Connects to the database.
    pub async fn connect(&self, login: Login) -> PgConnection {
        PgConnection::connect(&self.url(login))
            .await
            .expect("connecting to the test's database")
    }

    /// Makes a pool of up to 40 connections.
    pub async fn pool(&self, login: Login) -> PgPool {
        PgPoolOptions::new()
            .max_connections(40)
            .acquire_timeout(DEADLINE)
            .connect(&self.url(login))
            .await
            .expect("connecting to the test's database")
    }

    /// Runs SQL as the owner; what it creates may be used by everybody.
    pub async fn ddl(&self, sql: &str) {
        let mut owner = self.connect(Login::Owner).await;
        owner
            .execute(AssertSqlSafe(sql.to_owned()))
            .await
            .expect("the test's own tables");
        owner
            .execute(
                "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
                 GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC",
            )
            .await
            .expect("granting the test's own tables");
    }

    /// Lets writers store headers that no message can carry, as before migration 0003.
    pub async fn allow_any_header(&self) {
        let mut owner = self.connect(Login::Owner).await;
        owner
            .execute("ALTER DOMAIN outbox.headers DROP CONSTRAINT each_header")
            .await
            .expect("removing the check of headers");
    }

    /// Returns the number of undelivered rows and of parked rows. A row is delivered if the newest checkpoint covers it:
    /// the delivered snapshot sees the row, or the unfinished frame does and the row lies at or below the watermark.
    /// While a rebase is unfinished, no row counts as delivered.
    pub async fn undelivered_and_parked(&self, pool: &PgPool) -> (i64, i64) {
        sqlx::query_as(
            "WITH c AS (SELECT * FROM outbox.checkpoint WHERE lane = 0 ORDER BY id DESC LIMIT 1)
             SELECT (SELECT count(*) FROM outbox.message AS m
                     WHERE NOT EXISTS (SELECT FROM c WHERE (anchor IS NULL AND pg_visible_in_snapshot(m.xid, c.delivered))
                                       OR (anchor IS NULL AND frame IS NOT NULL AND pg_visible_in_snapshot(m.xid, c.frame)
                                           AND m.position <= c.watermark))),
                    (SELECT count(*) FROM outbox.parked)",
        )
        .fetch_one(pool)
        .await
        .expect("asking for undelivered messages")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Best effort: the test may have ended the server.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        drop(psql_command(&self.server).arg("-c").arg(sql).output());
    }
}

fn url_of(server: &str, database: &str, login: Login) -> String {
    let mut url: Url = server.parse().expect("the server's URL");
    url.set_path(database);
    if login != Login::Admin {
        url.set_username(login.name()).expect("a URL with a host");
        url.set_password(Some(PASSWORD)).expect("a URL with a host");
    }
    url.into()
}
