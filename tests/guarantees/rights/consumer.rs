//! A consumer of the topic `orders.placed`, as a user of few rights.

use std::time::Duration;

use inbox::{Consumer, ConsumerBuilder, Context, HandlerError};
use postroom_testkit::{Database, Login, Stack, User, eventually};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Serialize, Deserialize)]
struct Placed {
    n: i64,
}

impl outbox::Event for Placed {
    const TOPIC: &'static str = "orders.placed";

    fn key(&self) -> Option<String> {
        None
    }
}

/// A running consumer.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), inbox::RunError>>,
}

/// Makes the table of effects.
pub(crate) async fn prepare(database: &Database) {
    let table = "CREATE TABLE effect (consumer text, n bigint)";
    database.ddl(table).await;
}

impl Running {
    /// Starts one.
    pub(crate) fn start(stack: &Stack, name: &'static str, user: &User) -> Self {
        Self::start_with(stack, name, user, |builder| builder)
    }

    /// Starts one that takes commands, and no topics.
    pub(crate) fn start_commanded(stack: &Stack, name: &'static str, user: &User) -> Self {
        Self::start_as(stack, name, user, true, |builder| builder)
    }

    /// Starts one with other settings.
    pub(crate) fn start_with(
        stack: &Stack,
        name: &'static str,
        user: &User,
        change: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
    ) -> Self {
        Self::start_as(stack, name, user, false, change)
    }

    fn start_as(
        stack: &Stack,
        name: &'static str,
        user: &User,
        takes_commands: bool,
        change: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
    ) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy(&stack.database.url(Login::Consumer))
            .unwrap();
        let handler = move |mut ctx: Context, event: Placed| async move {
            sqlx::query("INSERT INTO effect (consumer, n) VALUES ($1, $2)")
                .bind(name)
                .bind(event.n)
                .execute(ctx.connection())
                .await?;
            Ok::<_, HandlerError>(())
        };
        let builder = Consumer::builder(name).database(pool).amqp_url(user.url());
        let builder = if takes_commands {
            builder.on_command::<Placed, _, _>(handler)
        } else {
            builder.on::<Placed, _, _>(handler)
        };
        let consumer = change(builder).build().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        Self {
            stop,
            task: tokio::spawn(consumer.run(stopped)),
        }
    }

    /// Ends it, and looks that nothing ended it before.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(postroom_testkit::DEADLINE, self.task).await;
        ended.expect("the consumer ends").unwrap().unwrap();
    }
}

/// Waits until a consumer's queue is bound: what is published before never comes.
pub(crate) async fn bound(stack: &Stack, queue: &str) {
    let path = format!("bindings/{}", stack.broker.name);
    eventually(&format!("{queue} is bound"), async || {
        let bindings = stack.broker.request("GET", &path, None);
        let mut bindings = bindings.as_array().into_iter().flatten();
        bindings.any(|b| b["destination"] == queue && b["routing_key"] == "orders.placed")
    })
    .await;
}

/// Waits until a consumer has handled each of these once.
pub(crate) async fn handled(stack: &Stack, name: &str, numbers: std::ops::Range<i64>) {
    let owner = stack.database.pool(Login::Owner).await;
    let expected: Vec<i64> = numbers.collect();
    eventually(&format!("{name} has handled all"), async || {
        let all: Vec<i64> =
            sqlx::query_scalar("SELECT n FROM effect WHERE consumer = $1 ORDER BY n")
                .bind(name)
                .fetch_all(&owner)
                .await
                .unwrap();
        all == expected
    })
    .await;
}
