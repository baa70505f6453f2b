//! The handler holds what cannot move to another thread.

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

async fn invoice(mut ctx: Context, order: OrderPlaced) -> Result<(), HandlerError> {
    let order = std::rc::Rc::new(order);
    ctx.publish(&*order).await?;
    Ok(())
}

fn main() {
    let _ = Consumer::builder("billing").on(invoice);
}
