//! The handler takes a state, and the consumer has none.

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

async fn invoice(
    _: Context,
    _: inbox::extract::State<App>,
    _: OrderPlaced,
) -> Result<(), HandlerError> {
    Ok(())
}

fn main() {
    let _ = Consumer::builder("billing").on(invoice).with_state(App);
}
