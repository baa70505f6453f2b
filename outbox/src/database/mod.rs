//! The URL of a database, read as libpq reads it: several hosts, IPv6, `target_session_attrs`, `sslmode`.
//!
//! sqlx knows one host, keeps the brackets of an IPv6 address, and ignores parameters that it does not know.
//! [`DatabaseAddress`] reads every form of address that libpq reads, or refuses it by name.
//! [`pool`](crate::pool) makes pools of it.

mod address;
mod connect;
mod parameters;
mod servers;
mod target;
mod tls;

pub use address::{DatabaseAddress, Server};
pub use connect::{AttemptError, ConnectError};
pub use postroom_message::address::{InvalidHost, InvalidUrl};
pub use target::TargetSession;
pub use tls::{SslMode, Unverified};
