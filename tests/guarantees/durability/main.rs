//! G2: nothing is published that a crash could take back; and what recording costs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkpoints;
mod gate;
mod metrics;
