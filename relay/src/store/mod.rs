//! The outbox's database: connections, statements, the lease, and tasks that read and record.

pub(crate) mod answer;
mod database;
mod frame_reader;
mod lease;
mod parked_reader;
mod sql;
mod stored_message;

pub use database::DatabaseError;
pub(crate) use database::{Purpose, connect, open, settings};
pub(crate) use frame_reader::{Reader, Timer};
pub(crate) use lease::{LANE, LeaseConnection, LeaseFreshness, LeaseTask, SameServerProof};
pub(crate) use parked_reader::ParkedReader;
pub(crate) use sql::{
    checkpoint, dropped, holder, lock, message, migration, page, parked, pg_timestamp::PgTimestamp,
    rights, row_decode, segment, server,
};
pub(crate) use stored_message::StoredMessage;
