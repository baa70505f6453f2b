//! What happens, each fact once: its log line and its metric together.
//!
//! Every metric is listed in `docs/operations.md`; a test holds the two against each other.

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
        BatchConfirmed, BrokerState, ChannelClosed, FenceLeftOver, FenceTried, Unbound,
        Unconfirmed, VisitFailed,
    },
    messages::{FrameRead, GateCommit, MessagesSettled, Parked, Window},
    names::register,
    ring::{Expired, RingFull, Rotated, UpkeepRefused},
    session::{BecameActive, Checkpointed, Promoted, SessionLost, SlowlyPreparing, StandingBy},
};
