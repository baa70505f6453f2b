//! Loads, their judgement, and other support that only our own tests need.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

use rand::Rng as _;

mod consumer;
mod example;
mod judge;
pub mod load;
mod memory;
mod migrated;
pub mod raw;

pub use consumer::{ConsumerProcess, judged_effects};
pub use example::example;
pub use judge::{history_of, judged};
pub use memory::{MemoryBroker, MemoryChannel, MemoryConnection};
pub use migrated::migrated;

/// Returns the seed of a test's random choices: `POSTROOM_SEED`, or a new one each time.
///
/// The caller prints the seed, so that a run can be repeated as far as its threads allow.
pub fn seed() -> u64 {
    let given = std::env::var("POSTROOM_SEED").ok();
    given.map_or_else(
        || rand::rng().random(),
        |seed| seed.parse().expect("POSTROOM_SEED is a number"),
    )
}

/// The examples of the project's README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

/// The examples of the guides, compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guides/events.md")]
    mod events {}

    #[doc = include_str!("../../docs/guides/state.md")]
    mod state {}

    #[doc = include_str!("../../docs/guides/errors.md")]
    mod errors {}

    #[doc = include_str!("../../docs/guides/commands.md")]
    mod commands {}

    #[doc = include_str!("../../docs/guides/tracing.md")]
    mod tracing {}

    #[doc = include_str!("../../docs/guides/health.md")]
    mod health {}

    #[doc = include_str!("../../docs/guides/reading-your-writes.md")]
    mod reading_your_writes {}

    #[doc = include_str!("../../docs/guides/testing.md")]
    mod testing {}

    #[doc = include_str!("../../docs/guides/changing-an-event.md")]
    mod changing_an_event {}

    #[doc = include_str!("../../docs/guides/scaling.md")]
    mod scaling {}

    #[doc = include_str!("../../docs/guides/idempotency.md")]
    mod idempotency {}
}
