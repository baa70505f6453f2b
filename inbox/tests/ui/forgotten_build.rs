//! The builder is never built.

use inbox::{Consumer, Context, HandlerError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: i64,
}

impl outbox::Event for OrderPlaced {
    const TOPIC: &'static str = "orders.placed";
    fn key(&self) -> Option<String> {
        None
    }
}

async fn invoice(_: Context, _: OrderPlaced) -> Result<(), HandlerError> {
    Ok(())
}

async fn run() {
    Consumer::builder("billing")
        .on(invoice)
        .run(std::future::pending())
        .await;
}

fn main() {
    #![deny(unused_must_use)]
    Consumer::builder("billing").on(invoice);
    let _ = run();
}
