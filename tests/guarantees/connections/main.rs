//! Addresses and encryption of the connections to both servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broker_tls;
mod database_tls;
mod fake;
mod hosts;
mod plaintext;
mod providers;
mod several;

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tracing::subscriber::DefaultGuard;

#[derive(Serialize, Deserialize)]
struct Ping;

impl outbox::Event for Ping {
    const TOPIC: &'static str = "ping";

    fn key(&self) -> Option<String> {
        None
    }
}

async fn pong(_: inbox::Context, _: Ping) -> Result<(), inbox::HandlerError> {
    Ok(())
}

/// Begins a consumer that connects nowhere yet.
fn consumer(amqp_url: &str) -> inbox::ConsumerBuilder {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(10);
    let pool = options
        .connect_lazy("postgres://nobody@localhost:1/nowhere")
        .unwrap();
    inbox::Consumer::builder("pings")
        .database(pool)
        .amqp_url(amqp_url)
        .on::<Ping, _, _>(pong)
}

/// Log lines of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn set(&self) -> DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Asserts that a text says each of these.
#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}
