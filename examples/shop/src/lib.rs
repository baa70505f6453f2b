//! Shared parts of the shop's services: the events that they exchange, and helpers.

pub mod parallel;
pub mod progress;
pub mod purchases;
pub mod service;
pub mod terminal;

use chrono::NaiveDate;
use outbox::Event;
use serde::{Deserialize, Serialize};

/// Event: a customer placed an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// Id of the order.
    pub order_id: i64,
    /// Id of the customer.
    pub customer: i64,
    /// Running number among the customer's orders: 1, 2, 3 …
    pub number: i32,
    /// Day of the order.
    pub date: NaiveDate,
    /// Number of CDs.
    pub cds: i32,
    /// Amount in cents.
    pub cents: i64,
}

impl Event for OrderPlaced {
    const TOPIC: &'static str = "orders.placed";

    fn key(&self) -> Option<String> {
        Some(self.customer.to_string())
    }
}

/// Event: an order was invoiced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderInvoiced {
    /// Id of the order.
    pub order_id: i64,
    /// Id of the invoice.
    pub invoice_id: i64,
    /// Id of the customer.
    pub customer: i64,
    /// Running number among the customer's orders: 1, 2, 3 …
    pub number: i32,
    /// Amount in cents.
    pub cents: i64,
}

impl Event for OrderInvoiced {
    const TOPIC: &'static str = "billing.invoiced";

    fn key(&self) -> Option<String> {
        Some(self.customer.to_string())
    }
}
