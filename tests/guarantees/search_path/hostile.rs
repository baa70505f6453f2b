//! A database in which a role without privileges has put objects of its own before those of `pg_catalog`: the hostile
//! objects.

use std::{collections::BTreeSet, str::FromStr as _};

use postroom_testkit::{Database, Login, eventually};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions,
};

/// Role that creates the hostile objects.
const MALLORY: &str = "postroom_test_mallory";

const LOGINS: [Login; 5] = [
    Login::Owner,
    Login::Producer,
    Login::Relay,
    Login::Consumer,
    Login::Admin,
];

/// A database with the hostile objects.
#[derive(Debug)]
pub(crate) struct Hostile<'a> {
    database: &'a Database,
}

impl<'a> Hostile<'a> {
    /// Makes the objects, and the path on which sessions find them: `public` before `pg_catalog`, for every role.
    pub(crate) async fn make(database: &'a Database) -> Self {
        let this = Self { database };
        let mut admin = this.connect().await;
        let name = &database.name;
        let words: Vec<String> = words().into_iter().collect();
        for sql in [
            // Another test may be making the role at this moment.
            format!(
                "DO $$ BEGIN CREATE ROLE {MALLORY} NOLOGIN;
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            ),
            format!("GRANT CREATE ON SCHEMA public TO {MALLORY}"),
            format!("CREATE SCHEMA mallory AUTHORIZATION {MALLORY}"),
            format!(
                "DO $$ BEGIN GRANT USAGE ON SCHEMA outbox, inbox TO {MALLORY};
                 EXCEPTION WHEN invalid_schema_name THEN NULL; END $$"
            ),
            format!("SET SESSION AUTHORIZATION {MALLORY}"),
            "CREATE TABLE mallory.used (word name NOT NULL)".to_owned(),
        ] {
            admin.execute(AssertSqlSafe(sql)).await.unwrap();
        }
        sqlx::query("INSERT INTO mallory.used SELECT unnest($1::text[])")
            .bind(words)
            .execute(&mut admin)
            .await
            .unwrap();
        admin.execute(include_str!("hostile.sql")).await.unwrap();
        admin.execute("RESET SESSION AUTHORIZATION").await.unwrap();
        assert_eq!(this.lacking().await, [""; 0]);
        let set = "SET search_path = public, pg_catalog";
        let database = format!("ALTER DATABASE {name} {set}");
        admin.execute(AssertSqlSafe(database)).await.unwrap();
        for login in LOGINS {
            let role = this.role(login);
            let role = format!("ALTER ROLE {role} IN DATABASE {name} {set}");
            admin.execute(AssertSqlSafe(role)).await.unwrap();
        }
        let mut session = this.database.connect(Login::Consumer).await;
        // Proves that a session meets the objects; otherwise their silence would show nothing.
        let met = session.execute("SELECT 1 = 2").await.unwrap_err();
        assert!(met.to_string().contains("foreign operator"), "{met}");
        assert_eq!(this.hits().await.len(), 1);
        admin
            .execute("ALTER SEQUENCE mallory.hits RESTART")
            .await
            .unwrap();
        this
    }

    /// Connects as the server's administrator, with a path on which the hostile objects are not found.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&self.database.url(Login::Admin)).unwrap();
        let options = options.options([("search_path", "pg_catalog, pg_temp")]);
        options.connect().await.unwrap()
    }

    fn role(&self, login: Login) -> String {
        let url: url::Url = self.database.url(login).parse().unwrap();
        url.username().to_owned()
    }

    /// Returns the hostile objects that should exist and do not.
    async fn lacking(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT kind || ' ' || what || ': ' || why FROM mallory.made
             WHERE why IS NOT NULL AND kind IN ('pair', 'overload', 'type')
             UNION ALL
             SELECT 'few of kind ' || k.kind FROM (VALUES
                 ('function', 2000), ('overload', 1000), ('aggregate', 100), ('operator', 700), ('pair', 500),
                 ('relation', 100), ('type', 20)) AS k (kind, least)
             WHERE k.least > (SELECT count(*) FROM mallory.made AS m WHERE m.kind = k.kind AND m.why IS NULL)",
        )
        .fetch_all(&mut self.connect().await)
        .await
        .unwrap()
    }

    /// Returns how often hostile objects were run, and the name of the last one; empty if none was.
    async fn hits(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT h.last_value || ' hits, the last of ' || m.kind || ' ' || m.what
             FROM mallory.hits AS h, mallory.last AS l, mallory.made AS m
             WHERE h.is_called AND m.id = l.last_value",
        )
        .fetch_all(&mut self.connect().await)
        .await
        .unwrap()
    }

    /// Asserts that no hostile object has been run.
    pub(crate) async fn assert_none_ran(&self) {
        assert_eq!(self.hits().await, [""; 0]);
    }

    /// Waits until a query is true. Panics as soon as a hostile object is run, because the query may then never be true.
    pub(crate) async fn until(&self, what: &str, query: &str) {
        let connection = tokio::sync::Mutex::new(self.connect().await);
        eventually(what, async || {
            self.assert_none_ran().await;
            let mut connection = connection.lock().await;
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT {query}")))
                .fetch_one(&mut *connection)
                .await
                .unwrap()
        })
        .await;
    }
}

/// Returns every word in a statement or a migration; the names are among the words.
fn words() -> BTreeSet<String> {
    let files = migrations::MIGRATIONS.iter().map(|migration| migration.sql);
    let all = [
        outbox::statements::ALL,
        inbox::statements::ALL,
        inbox::statements::REQUESTS,
        relay::statements::ALL,
    ];
    let listed = all.into_iter().flatten().map(|(_, sql)| *sql);
    let of_leaves = relay::statements::OF_LEAVES.iter();
    let pages = of_leaves.map(|(_, texts)| texts[0]);
    let texts = files
        .chain([migrations::ROLES, migrations::DOWN])
        .chain(listed)
        .chain(pages);
    texts
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty() && word.len() < 64)
        .map(str::to_lowercase)
        .collect()
}
