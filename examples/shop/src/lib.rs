//! What the services of the shop share: the events that they exchange, and a few helpers.

pub mod parallel;
pub mod progress;
pub mod purchases;
pub mod service;
pub mod terminal;

use chrono::NaiveDate;
use outbox::Event;
use serde::{Deserialize, Serialize};

/// A customer bought something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// The order.
    pub order_id: i64,
    /// Who bought.
    pub customer: i64,
    /// Which of the customer's orders it is: 1, 2, 3 …
    pub number: i32,
    /// When.
    pub date: NaiveDate,
    /// How many CDs.
    pub cds: i32,
    /// For how much.
    pub cents: i64,
}

impl Event for OrderPlaced {
    const TOPIC: &'static str = "orders.placed";

    fn key(&self) -> Option<String> {
        Some(self.customer.to_string())
    }
}

/// An order has its invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderInvoiced {
    /// The order.
    pub order_id: i64,
    /// Its invoice.
    pub invoice_id: i64,
    /// Who pays.
    pub customer: i64,
    /// Which of the customer's orders it is: 1, 2, 3 …
    pub number: i32,
    /// How much.
    pub cents: i64,
}

impl Event for OrderInvoiced {
    const TOPIC: &'static str = "billing.invoiced";

    fn key(&self) -> Option<String> {
        Some(self.customer.to_string())
    }
}
