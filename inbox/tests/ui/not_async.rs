//! The handler is no async function.

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

fn invoice(_: Context, _: OrderPlaced) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _ = Consumer::builder("billing").on(invoice);
}
