//! Addresses of servers, as their URLs write them. No I/O.

mod host;
mod url;

pub use host::{Host, InvalidHost};
pub use url::{InvalidUrl, Url};
