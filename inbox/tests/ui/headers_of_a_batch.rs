//! A batch handler takes the headers of one message.

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

async fn invoice(
    _: inbox::BatchContext,
    _: inbox::extract::Headers,
    _: Vec<inbox::Received<OrderPlaced>>,
) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _: Option<Context> = None;
    let _ = Consumer::builder("billing").on_many(invoice);
}
