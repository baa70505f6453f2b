//! The events that tests publish, and what their handlers do.

use std::sync::{Arc, Mutex};

use inbox::Context;
use serde::{Deserialize, Serialize};

/// The event that tests publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) n: i64,
    pub(crate) customer: String,
}

impl Placed {
    pub(crate) fn new(customer: &str, n: i64) -> Self {
        Self {
            n,
            customer: customer.to_owned(),
        }
    }
}

impl outbox::Event for Placed {
    const TOPIC: &'static str = "orders.placed";

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

/// The event that handlers publish.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shipped {
    pub(crate) n: i64,
}

impl outbox::Event for Shipped {
    const TOPIC: &'static str = "orders.shipped";

    fn key(&self) -> Option<String> {
        None
    }
}

/// Leaves a row that tells that a handler's transaction committed.
pub(crate) async fn insert_effect(ctx: &mut Context, event: &Placed) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
        .bind(event.n)
        .bind(&event.customer)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// Log of the handlers' runs, also of those that were not committed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|other| *other == line).count()
    }
}
