//! Events of the relay: each type emits the log line and the metric of one fact.
//!
//! All metrics are listed in `docs/operations.md`, and a test compares the two lists.

mod broker;
#[cfg(test)]
mod frozen;
mod messages;
mod names;
mod ring;
mod session;

pub use self::names::METRICS;
pub(crate) use self::{
    broker::{
        BatchConfirmed, BrokerState, ChannelClosed, FenceLeftOver, FenceTried, RecipientRefused,
        StandbyProbeFailed, Unbound, Unconfirmed,
    },
    messages::{FrameRead, GateCommit, MessagesSettled, Parked, Window},
    names::register,
    ring::{Expired, RingFull, Rotated, UpkeepRefused},
    session::{
        BecameActive, Checkpointed, LeaseMisheld, Promoted, SessionLost, SlowlyPreparing,
        StandingBy,
    },
};
