//! Recognition of duplicates: the identity of a message, and the time for which it is recorded.

mod id;
mod window;

pub(crate) use id::{Id, Record, is_plausible};
pub(crate) use window::{Age, MAX_SKEW, MAX_WINDOW, Window};
