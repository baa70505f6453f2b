//! A consumer as a real process.

use std::process::Stdio;

use history::{Effect, Report, Seen, judge_effects, judge_queue};
use postroom_testkit::{DEADLINE, Database, Login, Stack, binary, in_time};
use tokio::process::{Child, Command};

use crate::load;

/// Tables that the process `test-consumer` uses.
const TABLES: &str = "
CREATE TABLE effect (seq bigserial PRIMARY KEY, id uuid NOT NULL, key text);
CREATE TABLE broken (name text);";

/// A running consumer of the queue `ledger`: one row in the table `effect` for each message.
#[derive(Debug)]
pub struct ConsumerProcess {
    child: Child,
}

impl ConsumerProcess {
    /// Makes its tables.
    pub async fn prepare(database: &Database) {
        database.ddl(TABLES).await;
    }

    /// Starts one whose messages may share transactions: so many each.
    pub fn start(stack: &Stack, together: usize) -> Self {
        Self::spawn(stack, together, [])
    }

    /// As [`ConsumerProcess::start`], with a number of partitions.
    pub fn start_with(stack: &Stack, together: usize, partitions: Option<u8>) -> Self {
        let partitions = partitions.map(|partitions| ("PARTITIONS", partitions.to_string()));
        // Each handover and each kill counts as a redelivery.
        let crashes = ("MAX_CRASHES", "1000".to_owned());
        Self::spawn(stack, together, partitions.into_iter().chain([crashes]))
    }

    fn spawn(
        stack: &Stack,
        together: usize,
        settings: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let child = Command::new(binary("test-consumer"))
            .env_clear()
            .envs(settings)
            .env("POSTROOM_DATABASE_URL", stack.database.url(Login::Consumer))
            .env("POSTROOM_AMQP_URL", stack.broker.url())
            .env("TOGETHER", together.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("starting the consumer");
        Self { child }
    }

    /// Kills it outright.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killing the consumer");
    }

    /// Asks it to stop, and waits until it has finished and acknowledged what it was doing.
    pub async fn stop(mut self) {
        let pid = self.child.id().expect("a running consumer").to_string();
        let asked = std::process::Command::new("kill").arg(&pid).status();
        assert!(
            asked.expect("running kill").success(),
            "the consumer is gone"
        );
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let ended = ended.expect("the consumer ends").expect("waiting for it");
        assert!(ended.success(), "{ended}");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        ended.expect("the consumer ends").expect("waiting for it");
    }
}

/// Waits until every committed message has had its effect, and judges the effects: once each, and
/// in the order of their keys. A message without an effect after a minute counts as lost,
/// and is named.
pub async fn judged_effects(database: &Database) -> Report {
    let committed = load::committed(database).await;
    assert!(!committed.is_empty(), "the load committed nothing");
    let mut owner = database.connect(Login::Owner).await;
    let connection = tokio::sync::Mutex::new(&mut owner);
    in_time(async || {
        let mut connection = connection.lock().await;
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT FROM ledger AS l
                                WHERE NOT EXISTS (SELECT FROM effect AS e WHERE e.id = l.id))",
        )
        .fetch_one(&mut **connection)
        .await
        .expect("comparing the ledgers")
    })
    .await;
    let rows: Vec<(uuid::Uuid, Option<String>)> =
        sqlx::query_as("SELECT id, key FROM effect ORDER BY seq")
            .fetch_all(&mut owner)
            .await
            .expect("reading the effects");
    let effects: Vec<Effect> = rows
        .iter()
        .map(|(id, _)| Effect { id: id.to_string() })
        .collect();
    let order: Vec<Seen> = rows
        .into_iter()
        .map(|(id, key)| Seen {
            id: id.to_string(),
            key,
        })
        .collect();
    let order = judge_queue(&committed, &order);
    Report {
        disorders: order.disorders,
        wrong_keys: order.wrong_keys,
        ..judge_effects(&committed, &effects)
    }
}
