//! The reply to a request that was given up.

use outbox::Event;
use serde::{Deserialize, Serialize};

/// The reply to a request whose message is dead: rejected, failed for good, too old. An operator may still retry the
/// message. Also the reply to a request whose idempotency key another message had: its handler is not called.
///
/// The service that made the request handles the fault like any reply, with
/// [`on_command`](crate::ConsumerBuilder::on_command), or gets it from [`Replies`](crate::Replies) as
/// [`NoReply::Fault`](crate::NoReply::Fault).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("consumer {consumer:?} has given up request {request} ({reason}){}", Self::text(.error.as_deref()))]
#[non_exhaustive]
pub struct Fault {
    /// Id of the request.
    pub request: String,
    /// Consumer that gave the request up.
    pub consumer: String,
    /// Reason, as in `inbox.parked`, such as `rejected`; or `duplicate_key`.
    pub reason: String,
    /// Text of the last error; `None` without one.
    pub error: Option<String>,
}

impl Fault {
    pub(crate) const fn new(
        request: String,
        consumer: String,
        reason: String,
        error: Option<String>,
    ) -> Self {
        Self {
            request,
            consumer,
            reason,
            error,
        }
    }

    fn text(error: Option<&str>) -> String {
        error.map(|error| format!(": {error}")).unwrap_or_default()
    }
}

impl Event for Fault {
    const TOPIC: &'static str = "postroom.fault";

    fn key(&self) -> Option<String> {
        None
    }
}
