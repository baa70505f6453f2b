//! Tests of the core: single cases, and random orders of events in a simulated world.

mod broker;
mod invariants;
mod message;
mod properties;
mod shell;
mod steps;
mod stop;
mod table;
mod takeover;
mod timing;
mod world;
