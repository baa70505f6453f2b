//! The migrated database that every test's own database is a copy of.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::{Login, PASSWORD, psql::psql, url_of};

/// Returns the name of the migrated database that tests copy. Makes the database, and the logins, once for each state
/// of the migrations.
pub(super) async fn ensure_template(admin: &mut PgConnection, server: &str) -> String {
    let mut hash = Sha256::new();
    for file in migration_files() {
        hash.update(std::fs::read(&file).expect("a migration file"));
    }
    let mut name = String::from("postroom_template_");
    for byte in &hash.finalize()[..8] {
        write!(name, "{byte:02x}").expect("writing to a string");
    }
    // Tests run in many processes; one makes the template, the others wait.
    admin
        .execute("SELECT pg_advisory_lock(7431)")
        .await
        .expect("locking the template");
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut *admin)
            .await
            .expect("looking for the template");
    if !exists {
        make_template(admin, server, &name).await;
    }
    admin
        .execute("SELECT pg_advisory_unlock(7431)")
        .await
        .expect("unlocking the template");
    name
}

async fn make_template(admin: &mut PgConnection, server: &str, name: &str) {
    let making = format!("{name}_making");
    let owner = Login::Owner.name();
    for role in ["outbox_producer", "outbox_relay", "inbox_consumer"] {
        create_role(admin, role, "NOLOGIN").await;
    }
    for (login, options) in Login::CREATED {
        let options = format!("LOGIN PASSWORD '{PASSWORD}' {options}");
        create_role(admin, login.name(), &options).await;
    }
    for sql in [
        format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"),
        format!("CREATE DATABASE {making} OWNER {owner}"),
    ] {
        admin
            .execute(AssertSqlSafe(sql))
            .await
            .expect("creating the template");
    }
    for file in migration_files() {
        psql(&url_of(server, &making, Login::Owner), |psql| {
            psql.arg("-f").arg(&file)
        });
    }
    let sql = format!("ALTER DATABASE {making} RENAME TO {name}");
    admin
        .execute(AssertSqlSafe(sql))
        .await
        .expect("naming the template");
}

async fn create_role(admin: &mut PgConnection, name: &str, options: &str) {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(name)
            .fetch_one(&mut *admin)
            .await
            .expect("looking for a role");
    if !exists {
        let sql = format!("CREATE ROLE {name} {options}");
        admin
            .execute(AssertSqlSafe(sql))
            .await
            .expect("creating a role");
    }
}

/// The files that a database administrator would apply, in order.
fn migration_files() -> Vec<PathBuf> {
    let folder = migrations_folder();
    let numbered = migrations::MIGRATIONS
        .iter()
        .map(|m| folder.join(format!("{}.sql", m.name)));
    numbered.chain([folder.join("roles.sql")]).collect()
}

pub(super) fn migrations_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations")
}
