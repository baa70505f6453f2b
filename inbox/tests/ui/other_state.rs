//! The handler takes a state of another type than the consumer's.

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

#[derive(Clone)]
struct App;

#[derive(Clone)]
struct Prices;

async fn invoice(
    _: Context,
    _: inbox::extract::State<Prices>,
    _: OrderPlaced,
) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _ = Consumer::builder("billing").with_state(App).on(invoice);
}
