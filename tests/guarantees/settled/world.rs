//! Services with a database, a relay and a consumer each, at one broker.

use inbox::ConsumerBuilder;
use outbox::{Event, Outbox};
use postroom_testkit::{
    Consumer, DEADLINE, Login, RelayProcess, Settled, SettledError, Settlement, Stack, VirtualHost,
    eventually,
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) n: i64,
}

impl Event for Placed {
    const TOPIC: &'static str = "orders.placed";

    fn key(&self) -> Option<String> {
        None
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Invoiced {
    pub(crate) n: i64,
}

impl Event for Invoiced {
    const TOPIC: &'static str = "billing.invoiced";

    fn key(&self) -> Option<String> {
        None
    }
}

/// A service: its database, and its relay once that has been started.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) stack: Stack,
    pub(crate) pool: PgPool,
    broker: String,
}

impl Service {
    pub(crate) async fn new(name: &'static str, broker: &VirtualHost) -> Self {
        let stack = Stack {
            database: postroom_testkit::Database::new().await,
            broker: broker.sibling(),
        };
        Self {
            name,
            pool: stack.database.pool(Login::Admin).await,
            broker: broker.url(),
            stack,
        }
    }

    pub(crate) async fn relay(&self) -> RelayProcess {
        let source = [
            ("POSTROOM_AMQP_SOURCE", self.name),
            ("POSTROOM_PUBLISH_DROP_UNROUTABLE", "audit.#"),
        ];
        self.stack.relay_with(&source).await
    }

    pub(crate) async fn publish<E: Event + Sync>(&self, event: &E) {
        let mut tx = outbox::transaction::begin(&self.pool).await.unwrap();
        Outbox::new().publish(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Publishes by the SQL function: topic, body, and further arguments.
    pub(crate) async fn publish_sql(&self, arguments: &str) {
        let sql = format!("SELECT outbox.publish({arguments})");
        sqlx::query(AssertSqlSafe(sql))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Begins a consumer of this service whose waits are short.
    pub(crate) async fn consumer(&self) -> ConsumerBuilder {
        let millis = std::time::Duration::from_millis;
        inbox::Consumer::builder(self.name)
            .database(self.stack.database.pool(Login::Consumer).await)
            .amqp_url(&*self.broker)
            .backoff_in_place(millis(1), millis(10))
            .backoff_parked(millis(50), millis(100))
    }

    /// Names the consumer for the proof.
    pub(crate) fn takes(&self, topic: &str) -> Consumer {
        Consumer::new(self.name, &self.pool, [topic])
    }

    /// Returns the dropped messages as `topic: reason`.
    pub(crate) async fn dropped(&self) -> Vec<String> {
        let sql = "SELECT topic || ': ' || reason FROM outbox.dropped ORDER BY 1";
        let query = sqlx::query_scalar(sql);
        query.fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let query = sqlx::query_scalar(sql);
        query.fetch_one(&self.pool).await.unwrap()
    }
}

/// A consumer that runs beside a test.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), inbox::RunError>>,
}

impl Running {
    pub(crate) fn start(builder: ConsumerBuilder) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let consumer = builder.build().unwrap();
        Self {
            stop,
            task: tokio::spawn(consumer.run(stopped)),
        }
    }

    /// Ends the consumer as a crash would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("the consumer ends").unwrap().unwrap();
    }
}

/// Waits until the queue of a consumer exists and is bound, so that no message is unroutable.
pub(crate) async fn bound(broker: &VirtualHost, queue: &str, topic: &str) {
    eventually("the consumer's queue is bound", async || {
        let bindings = broker.request("GET", &format!("bindings/{}", broker.name), None);
        let bindings = bindings.as_array().cloned().unwrap_or_default();
        bindings
            .iter()
            .any(|binding| binding["destination"] == queue && binding["routing_key"] == topic)
    })
    .await;
}

/// Asks until the deadline of the proof; it must not prove anything.
pub(crate) async fn refused(settled: Settled) -> String {
    let patience = std::time::Duration::from_millis(500);
    match settled.patience(patience).wait().await {
        Err(SettledError::Unsettled(unsettled)) => unsettled.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Waits for the proof; a time-out of the test names what is missing.
pub(crate) async fn proven(settled: Settled) -> Settlement {
    settled
        .wait()
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}
