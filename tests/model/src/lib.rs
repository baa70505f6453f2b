//! A model of how the relay finds, publishes and records rows, checked in every order of events.
//!
//! Tests against real servers cover only the orders of events that happen to occur. This crate covers all
//! orders within small bounds: two or three transactions, one or two keys, one failure of each kind. The
//! search is done by [stateright](https://docs.rs/stateright), which visits every reachable state and
//! checks the properties in each.
//!
//! # Modelled parts
//!
//! *Producers.* A transaction gets its id, locks its key, gets a position and writes a row there,
//! and commits or rolls back. The id comes before the position and otherwise at any time, also
//! before the lock. A commit is logged first and visible later; the lock is free once it is visible.
//!
//! *PostgreSQL.* A snapshot's `xmax` is one past the highest id that has finished, whatever ids are running
//! above it. The write-ahead log is flushed at any time. A crash keeps the flushed part and any beginning
//! of the rest; ids and positions that left no record are assigned again.
//!
//! *The relay.* [`Snapshot`](relay_core::capture::Snapshot), [`Floors`](relay_core::capture::Floors),
//! [`Frame`](relay_core::capture::Frame), the checkpoint and the list of open frames from which it is made are the
//! relay's own types, so the model checks the arithmetic that runs. A frame is read in pages of one row. One row of a key is under way at a time; another frame is
//! read before the last is delivered. A checkpoint is a transaction with its own id, which yields a pair
//! for the floors when it commits. A session ends at any time and discards its memory; the next session
//! begins at the durable checkpoint, with the frame that was under way.
//!
//! *The lease.* There are two relays. The server may end the session of the lock's holder without the
//! holder's knowledge, and the other relay may take the lock. The old holder continues to read, to publish
//! what it read, and to wait for confirms, without a limit of time. It cannot record, because records need
//! the session that is gone. There is no clock: the real relay stops publishing when its lease is overdue,
//! and no property depends on that.
//!
//! *The broker.* The broker takes a row at once, confirms it late or never, and takes repeats.
//!
//! # Parts left out
//!
//! - The publishing machine with its parked rows, and all outcomes but a confirm and its loss. The machine is
//!   pure as well, and has its own simulations.
//! - Rotation and expiry of segments: positions stay within the first one.
//! - Standbys, promotion and rebase: there is one server, and it is always the primary.
//! - The session's core, except for its list of open frames: when something is recorded or sent is a free
//!   choice here, so that every order of events is covered. The core has its own simulations too. `frame.rs`
//!   repeats the condition of the statement that reads a page.
//! - A message that reaches the broker after its connection was abandoned. The message could only be a
//!   repeat; an old holder that publishes late covers the other cases.
//!
//! # Keeping the number of states small
//!
//! Identical producers begin in the order of their numbers, and so do relays. The first relay holds the
//! lease from the start. The only producer of a key takes no lock. When no crash of the database can
//! follow, the log is flushed at once and commits are visible at once. A session discards state that it
//! will never read again. None of these rules hides an order of events with a different observable result.
//! The numbers in [`Scenario`] are true bounds: behaviour that needs more transactions, records or failures
//! is not covered.
//!
//! # Does the model find mistakes?
//!
//! [`Trap`] lists mistakes that can be put back one at a time. The tests fail if one of them breaks no
//! property. The tests also fail if an event that ought to occur, such as the reuse of a transaction id,
//! never occurs.
//!
//! To see the paths: `cargo test -p postroom-model -- --nocapture`.

mod checkpoint;
mod database;
pub mod explore;
mod frame;
mod log;
pub mod property;
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
    /// Bounds of the search.
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
