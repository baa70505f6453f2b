//! Services that command each other.

use std::time::Duration;

use inbox::{Consumer, ConsumerBuilder, Context, HandlerError};
use outbox::{Outbox, ReplyTo, Request};
use postroom_testkit::{DEADLINE, Login, RelayProcess, Stack, eventually};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Command: credit is to be granted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) customer: String,
    pub(crate) cents: i64,
}

impl outbox::Event for Grant {
    const TOPIC: &'static str = "credits.grant";

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

/// Reply: credit was granted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Granted {
    pub(crate) cents: i64,
}

impl outbox::Event for Granted {
    const TOPIC: &'static str = "credits.granted";

    fn key(&self) -> Option<String> {
        None
    }
}

/// A database for all services of a test, a virtual host, and a relay.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) pool: PgPool,
    relay: RelayProcess,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Makes a world whose relay has these settings.
    pub(crate) async fn with(relay: &[(&str, &str)]) -> Self {
        let stack = Stack::new().await;
        let table =
            "CREATE TABLE effect (seq bigserial, consumer text, customer text, cents bigint)";
        stack.database.ddl(table).await;
        Self {
            pool: stack.database.pool(Login::Consumer).await,
            relay: stack.relay_with(relay).await,
            stack,
        }
    }

    /// Kills the relay outright, and starts another.
    pub(crate) async fn replace_relay(&mut self) {
        let fresh = self.stack.start_relay(&[]);
        std::mem::replace(&mut self.relay, fresh).kill().await;
        self.relay.ready().await;
    }

    /// Replaces the relay by one of another user of the broker.
    pub(crate) async fn relay_as(&mut self, url: &str) {
        let fresh = self.stack.start_relay(&[("POSTROOM_AMQP_URL", url)]);
        std::mem::replace(&mut self.relay, fresh).kill().await;
        self.relay.ready().await;
    }

    pub(crate) async fn send(&self, consumer: &str, grant: &Grant) {
        let mut tx = outbox::transaction::begin(&self.pool).await.unwrap();
        Outbox::new().send(&mut tx, consumer, grant).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Sends a request for the consumer `accounts`.
    pub(crate) async fn request(&self, consumer: &str, grant: &Grant) -> Request {
        let reply_to = ReplyTo::new("accounts", DEADLINE);
        let mut tx = outbox::transaction::begin(&self.pool).await.unwrap();
        let outbox = Outbox::new();
        let request = outbox.request(&mut tx, consumer, grant, &reply_to);
        let request = request.await.unwrap();
        tx.commit().await.unwrap();
        request
    }

    /// Begins a consumer whose waits are short.
    pub(crate) fn consumer(&self, name: &str) -> ConsumerBuilder {
        let millis = Duration::from_millis;
        Consumer::builder(name)
            .database(self.pool.clone())
            .amqp_url(self.stack.broker.url())
            .workers(2)
            .backoff_in_place(millis(1), millis(10))
            .backoff_parked(millis(50), millis(100))
    }

    /// Returns the cents that a consumer has granted to a customer, in order.
    pub(crate) async fn effects(&self, consumer: &str, customer: &str) -> Vec<i64> {
        let sql = "SELECT cents FROM effect WHERE (consumer, customer) = ($1, $2) ORDER BY seq";
        let effects = sqlx::query_scalar(sql).bind(consumer).bind(customer);
        effects.fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn have_effects(&self, consumer: &str, customer: &str, expected: &[i64]) {
        eventually("the effects are there", || async {
            self.effects(consumer, customer).await == expected
        })
        .await;
    }
}

/// Leaves a row for a command that a consumer handled.
pub(crate) async fn grant_as(
    consumer: &str,
    ctx: &mut Context,
    grant: &Grant,
) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO effect (consumer, customer, cents) VALUES ($1, $2, $3)")
        .bind(consumer)
        .bind(&grant.customer)
        .bind(grant.cents)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// The handler of the consumer `credits`, which replies if it is asked to. It rejects 13 cents, and fails for 14.
pub(crate) async fn credits(mut ctx: Context, grant: Grant) -> Result<(), HandlerError> {
    grant_as("credits", &mut ctx, &grant).await?;
    let cents = grant.cents;
    if ctx.message().reply_to.is_some() {
        ctx.reply(&Granted { cents }).await?;
    }
    match cents {
        13 => Err(HandlerError::reject("no credit of 13 cents")),
        14 => Err(HandlerError::retry("not now")),
        _ => Ok(()),
    }
}

pub(crate) fn grant(customer: &str, cents: i64) -> Grant {
    Grant {
        customer: customer.to_owned(),
        cents,
    }
}

/// A consumer that runs until it is dropped.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a consumer, and waits until it is subscribed.
    pub(crate) async fn start<S>(builder: ConsumerBuilder<S>) -> Self {
        let consumer = builder.build().unwrap();
        let (status, stop) = (consumer.status(), CancellationToken::new());
        let running = consumer.run(stop.clone().cancelled_owned());
        let task = tokio::spawn(async { running.await.unwrap() });
        tokio::time::timeout(DEADLINE, status.ready())
            .await
            .expect("the consumer is subscribed");
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
