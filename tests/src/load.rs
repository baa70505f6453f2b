//! Producers of every kind at once: a ledger, a serialised counter per key, and all ways to write.

mod ways;

use std::time::Duration;

use history::Committed;
use outbox::MessageId;
use postroom_testkit::{Database, Login};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, PgPool};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// Tables that [`Load`] writes beside the outbox.
const TABLES: &str = "
CREATE TABLE account (key text PRIMARY KEY, place bigint NOT NULL DEFAULT 0);
CREATE TABLE ledger (id uuid PRIMARY KEY, key text NOT NULL, place bigint NOT NULL);
CREATE TABLE elsewhere (note text);";

/// Producers that all work at once.
#[derive(Debug, Clone)]
pub struct Load {
    /// Number of producers.
    pub writers: usize,
    /// Number of keys.
    pub keys: usize,
    /// Transactions of each producer.
    pub rounds: usize,
    /// Seed of the random choices; printed.
    pub seed: u64,
    /// `true` if some transactions, prepared ones included, stay open for one or two seconds.
    pub slow: bool,
    /// `synchronous_commit` of the producers: `on` or `off`.
    pub synchronous_commit: &'static str,
}

impl Load {
    /// Two dozen writers on twenty keys, as slow and as odd as they come.
    pub fn new(rounds: usize) -> Self {
        Self {
            writers: 24,
            keys: 20,
            rounds,
            seed: crate::seed(),
            slow: true,
            synchronous_commit: "on",
        }
    }

    /// Makes the tables.
    pub async fn prepare(&self, database: &Database) {
        database.ddl(TABLES).await;
        let mut owner = database.connect(Login::Owner).await;
        sqlx::query(
            "INSERT INTO account (key) SELECT 'key-' || i FROM generate_series(1, $1) AS i",
        )
        .bind(self.keys as i32)
        .execute(&mut owner)
        .await
        .expect("making accounts");
    }

    /// Ends what producers prepared and were cut short before they could end.
    pub async fn end_orphans(&self, database: &Database) {
        let mut admin = database.connect(Login::Admin).await;
        let orphans: Vec<String> = sqlx::query_scalar(
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
        )
        .fetch_all(&mut admin)
        .await
        .expect("looking for prepared transactions");
        for name in orphans {
            let sql = format!("ROLLBACK PREPARED '{name}'");
            admin
                .execute(AssertSqlSafe(sql))
                .await
                .expect("ending a prepared transaction");
        }
    }

    /// Runs all producers to their end. Failed transactions are taken as not committed, unless the
    /// ledger says otherwise: it is the judge.
    pub async fn run(&self, database: &Database) {
        let rounds = self.rounds;
        let writers = self.start(database, move |round| *round < rounds).await;
        ended(writers).await;
    }

    /// Runs all producers for as long as a fault lasts, whatever number of rounds that takes.
    pub async fn during(&self, database: &Database, fault: impl Future<Output = ()>) {
        let over = CancellationToken::new();
        let told = over.clone();
        let writers = self.start(database, move |_| !told.is_cancelled()).await;
        fault.await;
        over.cancel();
        ended(writers).await;
    }

    async fn start<F>(&self, database: &Database, goes_on: F) -> JoinSet<()>
    where
        F: Fn(&usize) -> bool + Clone + Send + 'static,
    {
        // Shown for a failed test.
        #[allow(clippy::print_stdout)]
        {
            println!("load: POSTROOM_SEED={}", self.seed);
        }
        let pool = database.pool(Login::Producer).await;
        let mut writers = JoinSet::new();
        for number in 0..self.writers {
            let writer = Writer {
                load: self.clone(),
                number,
                pool: pool.clone(),
                random: StdRng::seed_from_u64(self.seed.wrapping_add(number as u64)),
            };
            writers.spawn(writer.run(goes_on.clone()));
        }
        writers
    }
}

async fn ended(mut writers: JoinSet<()>) {
    while let Some(ended) = writers.join_next().await {
        ended.expect("a producer ends");
    }
}

/// Returns the messages that are committed according to the ledger.
pub async fn committed(database: &Database) -> Vec<Committed> {
    let mut owner = database.connect(Login::Owner).await;
    let rows: Vec<(uuid::Uuid, String, i64)> = sqlx::query_as("SELECT id, key, place FROM ledger")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    rows.into_iter()
        .map(|(id, key, place)| Committed {
            id: id.to_string(),
            key: Some(key),
            place,
        })
        .collect()
}

struct Writer {
    load: Load,
    number: usize,
    pool: PgPool,
    random: StdRng,
}

impl Writer {
    async fn run(mut self, goes_on: impl FnMut(&usize) -> bool) {
        for round in (0..).take_while(goes_on) {
            let result = self.transaction(round).await;
            if result.is_err() {
                // The server is being restarted by the test: later rounds try again.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn transaction(&mut self, round: usize) -> Result<(), sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mode = self.load.synchronous_commit;
        tx.execute(AssertSqlSafe(format!(
            "SET LOCAL synchronous_commit = {mode}"
        )))
        .await?;
        if self.random.random_bool(0.4) {
            // Takes a transaction id long before the key's lock.
            sqlx::query("INSERT INTO elsewhere VALUES ('early')")
                .execute(&mut *tx)
                .await?;
            self.pause(5).await;
        }
        if self.random.random_bool(0.2) {
            tx.execute("SAVEPOINT undone").await?;
            self.write(&mut tx).await?;
            tx.execute("ROLLBACK TO SAVEPOINT undone").await?;
        }
        for _ in 0..self.random.random_range(1..=2) {
            tx.execute("SAVEPOINT kept").await?;
            self.write(&mut tx).await?;
        }
        self.pause(3).await;
        if self.load.slow && self.random.random_bool(0.03) {
            self.pause(1_500).await;
        }
        match self.random.random_range(0..10) {
            0 => tx.rollback().await,
            1 => self.prepare(tx, round).await,
            _ => tx.commit().await,
        }
    }

    /// Takes a key's next places and writes messages for them, one way or another.
    async fn write(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let key = format!("key-{}", self.random.random_range(1..=self.load.keys));
        let count: i64 = self.random.random_range(1..=3);
        let last: i64 = sqlx::query_scalar(
            "UPDATE account SET place = place + $2 WHERE key = $1 RETURNING place",
        )
        .bind(&key)
        .bind(count)
        .fetch_one(&mut *connection)
        .await?;
        let places: Vec<i64> = (last - count + 1..=last).collect();
        let ids: Vec<uuid::Uuid> = places.iter().map(|_| MessageId::new().as_uuid()).collect();
        sqlx::query(
            "INSERT INTO ledger (id, key, place)
             SELECT i.id, $2, i.place FROM unnest($1::uuid[], $3::bigint[]) AS i (id, place)",
        )
        .bind(&ids)
        .bind(&key)
        .bind(&places)
        .execute(&mut *connection)
        .await?;
        match self.random.random_range(0..5) {
            0 => ways::by_insert_select(connection, &key, &ids).await,
            1 => ways::by_copy(connection, &key, &ids).await,
            2 => ways::by_function(connection, &key, &ids).await,
            3 => ways::by_values(connection, &key, &ids).await,
            _ => ways::by_library(connection, &key, &ids).await,
        }
    }

    /// Ends a transaction in two phases.
    async fn prepare(
        &mut self,
        mut tx: sqlx::Transaction<'static, sqlx::Postgres>,
        round: usize,
    ) -> Result<(), sqlx::Error> {
        let name = format!("{}-{}-{round}", self.load.seed, self.number);
        // If that fails, it may be prepared all the same, and only the answer got lost.
        drop(
            tx.execute(AssertSqlSafe(format!("PREPARE TRANSACTION '{name}'")))
                .await,
        );
        // The session is outside a transaction now; this only ends the wrapper.
        drop(tx.rollback().await);
        self.pause(if self.load.slow { 300 } else { 5 }).await;
        let verb = if self.random.random_bool(0.8) {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        // A prepared transaction holds its key's lock until the transaction is ended, whatever happens to the server
        // meanwhile.
        while let Err(error) = self
            .pool
            .execute(AssertSqlSafe(format!("{verb} PREPARED '{name}'")))
            .await
        {
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            // undefined_object: it was ended although the answer got lost, or never prepared.
            if code.as_deref() == Some("42704") {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Lets others get ahead; nothing waits for the end of this pause.
    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.random.random_range(0..=most_ms))).await;
    }
}
