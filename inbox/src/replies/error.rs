//! Reasons why there is no reply.

use std::time::Duration;

use outbox::Request;

use crate::Fault;

/// Error of [`Replies`](crate::Replies).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoReply {
    /// The reply did not come in time. Nothing is lost: it is kept when it comes.
    #[error("no reply to request {request} within {longest:?}{}", Self::text(.problem.as_deref()))]
    TimedOut {
        /// The request.
        request: Request,
        /// Longest time of the wait.
        longest: Duration,
        /// Reason why the database could not be asked at the last look; `None` if it could.
        problem: Option<String>,
    },
    /// The request was given up: rejected, or failed for good.
    #[error(transparent)]
    Fault(Fault),
    /// The reply is of another type or of a newer version, or its body cannot be decoded.
    #[error("cannot read the reply to request {request}, of type {type_name:?}, as {expected:?}")]
    Unreadable {
        /// The request.
        request: Request,
        /// Type of the reply.
        type_name: String,
        /// Type that was asked for.
        expected: &'static str,
        /// Error of the decoding; `None` if the type or version is another one.
        source: Option<serde_json::Error>,
    },
}

impl NoReply {
    fn text(problem: Option<&str>) -> String {
        let text = |problem| format!(": the database could not be asked: {problem}");
        problem.map(text).unwrap_or_default()
    }
}
