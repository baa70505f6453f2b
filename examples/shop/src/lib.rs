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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
#[event(topic = "orders.placed", key = customer)]
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

/// Event: an order was invoiced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
#[event(topic = "billing.invoiced", key = customer)]
pub struct OrderInvoiced {
    /// Id of the order.
    pub order_id: i64,
    /// Id of the invoice.
    pub invoice_id: i64,
    /// Id of the customer.
    pub customer: i64,
    /// Running number among the customer's orders: 1, 2, 3 …
    pub number: i32,
    /// Number of CDs.
    pub cds: i32,
    /// Amount in cents.
    pub cents: i64,
}

/// Event: a customer placed a first order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
#[event(topic = "orders.customer", key = customer)]
pub struct CustomerRegistered {
    /// Id of the customer.
    pub customer: i64,
    /// Running number among the customer's registrations: always 1.
    pub number: i32,
}

/// Command to shipping: insure the parcel of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
#[event(topic = "shipping.insure", key = customer)]
pub struct InsureParcel {
    /// Id of the order.
    pub order_id: i64,
    /// Id of the customer.
    pub customer: i64,
    /// Value in cents.
    pub cents: i64,
}

/// Reply: a parcel was insured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
#[event(topic = "shipping.insured", key = order_id)]
pub struct ParcelInsured {
    /// Id of the order.
    pub order_id: i64,
    /// Number of the policy.
    pub policy: i64,
}
