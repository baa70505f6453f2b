//! The outbox's database: its statements, connections, lease and readers.

pub(crate) mod answer;
pub(crate) mod database;
pub(crate) mod frame_reader;
pub(crate) mod lease;
pub(crate) mod parked_reader;
pub(crate) mod sql;
