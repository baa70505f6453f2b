//! Holds back a step of another session, so that a process can be killed at that step.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::{Database, Login, eventually};

/// Advisory lock that [`Pin::commits`] takes.
const COMMITS: i64 = 0x5049_4e53;

/// A lock that a step of others has to wait for.
#[derive(Debug)]
pub struct Pin {
    connection: PgConnection,
    pid: i32,
}

impl Pin {
    /// Holds back writes to a table. The table can still be read.
    pub async fn table(database: &Database, table: &str) -> Self {
        let sql = format!("BEGIN; LOCK TABLE {table} IN SHARE MODE");
        Self::new(database, sql).await
    }

    /// Makes commits of transactions that wrote to `table` wait at their very end, when
    /// [`Pin::commits`] holds them back.
    pub async fn prepare_commits(database: &Database, table: &str) {
        let sql = format!(
            "CREATE FUNCTION pass_the_pin() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared({COMMITS}); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER pass_the_pin AFTER INSERT ON {table}
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_the_pin()"
        );
        database.ddl(&sql).await;
    }

    /// Holds commits back: everything of their transactions is done but the end.
    pub async fn commits(database: &Database) -> Self {
        let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({COMMITS})");
        Self::new(database, sql).await
    }

    async fn new(database: &Database, sql: String) -> Self {
        let mut connection = database.connect(Login::Admin).await;
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .expect("asking for the session's own id");
        connection
            .execute(AssertSqlSafe(sql))
            .await
            .expect("taking the lock");
        Self { connection, pid }
    }

    /// Waits until a session has come to the step and waits there.
    pub async fn reached(&mut self) {
        let connection = tokio::sync::Mutex::new(&mut self.connection);
        eventually("somebody comes to the step", async || {
            let mut connection = connection.lock().await;
            // Within a transaction the view would not show sessions that were made since it was first read.
            connection
                .execute("SELECT pg_stat_clear_snapshot()")
                .await
                .expect("reading the sessions anew");
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))",
            )
            .bind(self.pid)
            .fetch_one(&mut **connection)
            .await
            .expect("looking for who waits");
            waiting > 0
        })
        .await;
    }

    /// Lets the step happen, even if whoever asked for it is gone.
    pub async fn release(self) {
        self.connection.close().await.expect("letting go");
    }

    /// Ends the sessions that wait: the step never happens.
    pub async fn undo(mut self) {
        let waiting = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
                       WHERE $1 = ANY (pg_blocking_pids(pid))";
        sqlx::query(waiting)
            .bind(self.pid)
            .execute(&mut self.connection)
            .await
            .expect("ending who waits");
        self.release().await;
    }
}
