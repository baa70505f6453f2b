//! Statements on `inbox.parked`, which holds deliveries that wait for another attempt.

pub(crate) mod arrive;
pub(crate) mod newer;
pub(crate) mod operate;
pub(crate) mod retry;
pub(crate) mod untrusted;

use serde_json::Value;
use sqlx::FromRow;

pub(crate) use arrive::{any_holder, insert, is_there, lock_holder};
pub(crate) use operate::{Listed, discard, list, retry};
pub(crate) use retry::{
    Claimed, Leases, Takes, backdate_next, claim, delete, lock_claimed, release_next,
    release_orphans, settle,
};
pub(crate) use untrusted::untrusted;

/// The columns that hold the message itself.
#[derive(Debug, FromRow)]
pub(crate) struct MessageColumns {
    pub(crate) message_id: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) type_name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Value,
    pub(crate) payload: Vec<u8>,
}
