//! The relay's statements: static text, one module per table.

pub(crate) mod checkpoint;
pub(crate) mod message;
pub(crate) mod page;
pub(crate) mod parked;
pub(crate) mod segment;
pub(crate) mod server;
