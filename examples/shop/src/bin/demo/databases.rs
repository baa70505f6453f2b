//! Databases of the services, each with a login that has only the necessary rights.

use anyhow::Context as _;
use migrations::{MIGRATIONS, ROLES};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::address;

/// A service with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Orders,
    Billing,
    Loyalty,
    Shipping,
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Orders, Self::Billing, Self::Loyalty, Self::Shipping];
    /// Services that publish, each with a relay.
    pub(crate) const PUBLISHING: [Self; 3] = [Self::Orders, Self::Billing, Self::Shipping];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Billing => "billing",
            Self::Loyalty => "loyalty",
            Self::Shipping => "shipping",
        }
    }

    const fn tables(self) -> &'static str {
        match self {
            Self::Orders => include_str!("../../../sql/orders.sql"),
            Self::Billing => include_str!("../../../sql/billing.sql"),
            Self::Loyalty => include_str!("../../../sql/loyalty.sql"),
            Self::Shipping => include_str!("../../../sql/shipping.sql"),
        }
    }
}

/// Databases and logins of one demo. Their names are known before they are created.
#[derive(Debug)]
pub(crate) struct Databases {
    /// URL of the server with an administrator's login, to any database.
    server: Url,
    /// Suffix of every name, so that concurrent demos use different names.
    suffix: String,
    password: String,
    /// `true` once something that must be removed has been created.
    created: bool,
}

impl Databases {
    pub(crate) fn new(server: Url, suffix: &str) -> Self {
        Self {
            server,
            suffix: suffix.to_owned(),
            password: Uuid::new_v4().simple().to_string(),
            created: false,
        }
    }

    /// Creates roles, databases and tables. The owner applies the migrations; services and relays only log
    /// in.
    pub(crate) async fn create(&mut self) -> anyhow::Result<()> {
        let mut server = self.connect_server().await?;
        self.created = true;
        let owner = self.owner();
        self.run(&mut server, format!("CREATE ROLE {owner} NOLOGIN"))
            .await?;
        self.run(&mut server, format!("GRANT {owner} TO CURRENT_USER"))
            .await?;
        for login in self.logins() {
            let sql = format!("CREATE ROLE {login} LOGIN PASSWORD '{}'", self.password);
            self.run(&mut server, sql).await?;
        }
        for service in Service::ALL {
            let name = self.database(service);
            self.run(&mut server, format!("CREATE DATABASE {name} OWNER {owner}"))
                .await?;
            let tables = self.migrate(service).await;
            tables.with_context(|| format!("preparing database {name}"))?;
        }
        Ok(())
    }

    /// Applies migrations and tables as the owner, roles and grants as the administrator.
    async fn migrate(&self, service: Service) -> anyhow::Result<()> {
        let mut database = self.connect(service).await?;
        self.run(&mut database, format!("SET ROLE {}", self.owner()))
            .await?;
        for migration in MIGRATIONS {
            self.run(&mut database, migration.sql.to_owned()).await?;
        }
        self.run(&mut database, service.tables().to_owned()).await?;
        self.run(&mut database, "RESET ROLE".to_owned()).await?;
        self.run(&mut database, ROLES.to_owned()).await?;

        let login = self.database(service);
        let relay = self.relay();
        for sql in [
            format!("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {login}"),
            format!("GRANT outbox_producer, inbox_consumer TO {login}"),
            format!("GRANT outbox_relay TO {relay}"),
        ] {
            self.run(&mut database, sql).await?;
        }
        database.close().await?;
        Ok(())
    }

    async fn run(&self, connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
        let first = sql.lines().find(|line| !line.starts_with("--"));
        let what = first.unwrap_or_default().replace(&self.password, "***");
        let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
        ran.with_context(|| format!("running {what:?} on PostgreSQL"))?;
        Ok(())
    }

    /// Removes the databases and roles that exist.
    pub(crate) async fn drop_all(&self) -> anyhow::Result<()> {
        if !self.created {
            return Ok(());
        }
        let mut server = self.connect_server().await?;
        for service in Service::ALL {
            let name = self.database(service);
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            self.run(&mut server, sql).await?;
        }
        for role in self.logins().into_iter().chain([self.owner()]) {
            self.run(&mut server, format!("DROP ROLE IF EXISTS {role}"))
                .await?;
        }
        Ok(())
    }

    /// Returns the name of a service's database, which is also the name of its login.
    pub(crate) fn database(&self, service: Service) -> String {
        format!("shop_{}_{}", service.name(), self.suffix)
    }

    fn relay(&self) -> String {
        format!("shop_relay_{}", self.suffix)
    }

    fn owner(&self) -> String {
        format!("shop_owner_{}", self.suffix)
    }

    fn logins(&self) -> Vec<String> {
        let services = Service::ALL.map(|service| self.database(service));
        services.into_iter().chain([self.relay()]).collect()
    }

    /// Returns the URL for a service.
    pub(crate) fn service_url(&self, service: Service) -> anyhow::Result<String> {
        self.login_url(service, &self.database(service))
    }

    /// Returns the URL for a service's relay.
    pub(crate) fn relay_url(&self, service: Service) -> anyhow::Result<String> {
        self.login_url(service, &self.relay())
    }

    fn login_url(&self, service: Service, login: &str) -> anyhow::Result<String> {
        let mut url = self.server.clone();
        url.set_path(&self.database(service));
        let named = url.set_username(login);
        let named = named.and_then(|()| url.set_password(Some(&self.password)));
        named
            .ok()
            .with_context(|| format!("{} names no host", address::shown(&self.server)))?;
        Ok(url.into())
    }

    /// Connects to a service's database as the administrator.
    pub(crate) async fn connect(&self, service: Service) -> anyhow::Result<PgConnection> {
        let mut url = self.server.clone();
        url.set_path(&self.database(service));
        connect(&url).await
    }

    async fn connect_server(&self) -> anyhow::Result<PgConnection> {
        connect(&self.server).await
    }
}

async fn connect(url: &Url) -> anyhow::Result<PgConnection> {
    let connected = PgConnection::connect(url.as_str()).await;
    connected.with_context(|| format!("connecting to PostgreSQL at {}", address::shown(url)))
}
