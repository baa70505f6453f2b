//! Statements on `outbox.parked`.

pub(crate) mod operate;
pub(crate) mod read;
