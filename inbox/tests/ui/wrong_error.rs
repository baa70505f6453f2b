//! The handler's error is no error.

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

struct NoStock;

async fn invoice(_: Context, _: OrderPlaced) -> Result<(), NoStock> {
    Err(NoStock)
}

fn main() {
    let _: Option<HandlerError> = None;
    let _ = Consumer::builder("billing").on(invoice);
}
