//! The handler takes any event.

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

async fn invoice<E: outbox::Event>(_: Context, _: E) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _: Option<OrderPlaced> = None;
    let _ = Consumer::builder("billing").on(invoice);
}
