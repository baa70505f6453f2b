//! A service whose sessions find the hostile objects first: its publishing, and its two consumers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use inbox::{Consumer, Context, HandlerError, Remember, RunError};
use outbox::{Message, Outbox};
use postroom_testkit::{Login, Stack};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, Executor as _, PgPool, postgres::PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Both consumers, and how many of their messages share a transaction.
pub(crate) const CONSUMERS: [(&str, usize); 2] = [("billing", 1), ("audit", 20)];

/// Instruction to a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Work,
    FailTwice,
    Defer,
    /// Reject until the test sets `mended`.
    Reject,
    /// Publish another job, whose number is higher by a thousand.
    Publish,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) n: i64,
    pub(crate) what: What,
}

impl outbox::Event for Job {
    const TOPIC: &'static str = "jobs";

    fn key(&self) -> Option<String> {
        Some(format!("key-{}", self.n % 3))
    }
}

/// Earlier runs of the handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    runs: Arc<Mutex<HashMap<i64, u32>>>,
    /// Nothing is rejected any more.
    pub(crate) mended: Arc<AtomicBool>,
}

impl Memory {
    /// The number of this run of a job, from 1.
    fn run(&self, job: &Job) -> u32 {
        let mut runs = self.runs.lock().unwrap();
        let run = runs.entry(job.n).or_default();
        *run += 1;
        *run
    }
}

async fn handle(
    name: &str,
    memory: &Memory,
    mut ctx: Context,
    job: Job,
) -> Result<(), HandlerError> {
    let run = memory.run(&job);
    match job.what {
        What::FailTwice if run <= 2 => return Err(HandlerError::retry("broken")),
        What::Defer if run == 1 => {
            let wait = Duration::from_millis(50);
            return Err(HandlerError::defer(wait, "too early"));
        }
        What::Reject if !memory.mended.load(Ordering::SeqCst) => {
            return Err(HandlerError::reject("never"));
        }
        What::Publish if name == CONSUMERS[0].0 => {
            let more = Job {
                n: job.n + 1_000,
                what: What::Work,
            };
            ctx.publish(&more).await?;
        }
        _ => {}
    }
    // The service qualifies the names of its own tables.
    sqlx::query("INSERT INTO public.effect (consumer, n) VALUES ($1, $2)")
        .bind(name)
        .bind(job.n)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// Makes a pool of a login, whose sessions have the path with the hostile objects.
pub(crate) fn pool(stack: &Stack, login: Login) -> PgPool {
    let options = PgPoolOptions::new().max_connections(12);
    options.connect_lazy(&stack.database.url(login)).unwrap()
}

/// A running consumer.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) memory: Memory,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(crate) fn start(stack: &Stack, name: &'static str, together: usize) -> Self {
        let millis = Duration::from_millis;
        let memory = Memory::default();
        let known = memory.clone();
        let handler = move |ctx: Context, job: Job| {
            let memory = known.clone();
            async move { handle(name, &memory, ctx, job).await }
        };
        let consumer = Consumer::builder(name)
            .database(pool(stack, Login::Consumer))
            .amqp_url(stack.broker.url())
            .messages_per_transaction(together)
            .prepared_statements(together == 1)
            .attempts_in_place(1)
            .backoff_in_place(millis(1), millis(10))
            .backoff_parked(millis(50), millis(100))
            .on::<Job, _, _>(handler)
            .idempotency_key(Remember::For(Duration::from_hours(1)), move |job: &Job| {
                (together > 1).then(|| job.n.to_string())
            })
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        Self {
            memory,
            stop,
            task: tokio::spawn(consumer.run(stopped)),
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Publishes in each of the ways that there are; returns the numbers of the jobs.
pub(crate) async fn publish(stack: &Stack) -> Vec<i64> {
    let pool = pool(stack, Login::Producer);
    let mut session = pool.acquire().await.unwrap();
    outbox::schema::check(&mut session).await.unwrap();
    let job = |n, what| Message::event(&Job { n, what }).unwrap();
    let mut tx = session.begin().await.unwrap();
    let many = (1..=20).map(|n| job(n, What::Work).serialize_key());
    Outbox::new().publish_all(&mut tx, many).await.unwrap();
    let soon = Utc::now() + chrono::TimeDelta::seconds(1);
    for message in [
        job(21, What::FailTwice),
        job(22, What::Defer).serialize_key(),
        job(23, What::Reject),
        job(24, What::Publish),
        job(25, What::Work).deliver_after(soon),
    ] {
        Outbox::new().publish(&mut tx, message).await.unwrap();
    }
    let unprepared = Outbox::new().without_prepared_statements();
    let message = job(26, What::Work).serialize_key();
    unprepared.publish(&mut tx, message).await.unwrap();
    tx.commit().await.unwrap();
    for sql in [
        r#"SELECT outbox.publish('jobs', '{"n": 27, "what": "work"}', key => 'key-0', serialize_key => true)"#,
        r#"SELECT outbox.publish_bytes('jobs', '{"n": 28, "what": "work"}', 'application/json')"#,
        r#"INSERT INTO outbox.message (message_id, topic, key, type, payload)
           VALUES (outbox.uuid_v7(), 'jobs', 'key-2', 'jobs', '{"n": 29, "what": "work"}')"#,
    ] {
        session.execute(sql).await.unwrap();
    }
    (1..=29).chain([1_024]).collect()
}
