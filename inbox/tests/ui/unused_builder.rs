//! The builder is dropped.
#![deny(unused_must_use)]

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

fn main() {
    Consumer::builder("billing").on(invoice);
}
