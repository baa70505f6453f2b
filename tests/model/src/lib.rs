//! A model of how the relay finds, publishes and records rows, checked in every order of events.
//!
//! Tests against real servers meet the orders of events that happen to come up. This crate goes
//! through all of them, within small bounds: two or three transactions, one or two keys, one
//! failure of each kind. The search is done by [stateright](https://docs.rs/stateright), which
//! visits every state that can be reached and looks at the properties in each.
//!
//! # What is modelled
//!
//! *Producers.* A transaction gets its id, locks its key, gets a position and writes a row there,
//! and commits or rolls back. The id comes before the position and otherwise at any time, also
//! before the lock. A commit is logged first and visible later; the lock is free once it is visible.
//!
//! *PostgreSQL.* A snapshot's `xmax` is one past the highest id that has finished, whatever ids are
//! running above it. The write-ahead log is flushed at any time. A crash keeps what was flushed and
//! any beginning of the rest; ids and positions that left no record are handed out again.
//!
//! *The relay.* [`Snapshot`](relay::capture::Snapshot), [`Floors`](relay::capture::Floors) and
//! [`Frame`](relay::capture::Frame) are the relay's own, so the arithmetic that is checked is the one
//! that runs. A frame is read in pages of one row. One row of a key is under way at a time; another
//! frame is read before the last is delivered. A checkpoint is a transaction with an id of its own,
//! which yields a pair for the floors when it commits. A session ends at any time and forgets
//! everything; the next one begins at the durable checkpoint, with the frame that was under way.
//!
//! *The lease.* There are two relays. The server may end the session of the one that holds the lock
//! without its knowledge, and the other may take it. The old holder goes on reading, publishing what
//! it read, and waiting for confirms, for as long as it likes. It cannot record, because it would
//! have to do so through the session that is gone. There is no clock: the real relay stops
//! publishing when its lease is overdue, and nothing here depends on that.
//!
//! *The broker.* It takes a row at once, confirms it late or never, and takes repeats.
//!
//! # What is left out
//!
//! - The publishing machine with its parked rows, and what else can become of a message. It is pure
//!   as well, and has simulations of its own; here a row is confirmed or sent again.
//! - Rotation and expiry of segments: positions stay within the first one.
//! - Standbys, promotion and rebase: there is one server, and it is always the primary.
//! - The relay's checkpoint and the list of its open frames are private to it. The model repeats
//!   them, a few lines each, in `checkpoint.rs` and `session.rs`; and it repeats in `frame.rs` what
//!   the statement that reads a page selects.
//! - A message that reaches the broker after its connection was given up. It could only be a repeat;
//!   an old holder that publishes late covers the rest.
//!
//! # How the number of states is kept small
//!
//! Producers that are alike begin in the order of their numbers, and so do relays. The first relay
//! holds the lease from the start. The only producer of a key takes no lock. When no crash of the
//! database can come any more, the log is flushed at once and commits are visible at once. A session
//! forgets what it will never look at again. None of this hides an order of events that differs in
//! what anybody could observe. The numbers in [`Scenario`] are true bounds: what happens only with
//! more transactions, records or failures is not seen.
//!
//! # Does it notice mistakes?
//!
//! [`Trap`] lists mistakes that can be put back one at a time. Each must break a property, or the
//! tests fail. So do they if something that ought to happen, such as a transaction id that is used
//! again, never does.
//!
//! To see the paths: `cargo test -p postroom-model -- --nocapture`.

mod checkpoint;
mod database;
pub mod explore;
mod frame;
mod log;
pub mod property;
mod remembered;
mod scenario;
mod session;
mod step;
mod world;
mod writer;

use stateright::{Model, Property};

pub use scenario::{Producer, Scenario, Trap};
pub use step::Step;
pub use world::World;

/// The protocol within the bounds of a scenario.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The bounds.
    pub scenario: Scenario,
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scenario)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        step::possible(&self.scenario, world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        Some(world.after(&self.scenario, &step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::properties()
    }
}
