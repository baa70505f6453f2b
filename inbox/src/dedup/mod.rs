//! What makes a delivery a duplicate, and for how long that is remembered.

mod id;
mod window;

pub(crate) use id::{Id, Record};
pub(crate) use window::{Age, MAX_SKEW, MAX_WINDOW, Window};
