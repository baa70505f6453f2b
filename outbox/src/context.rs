//! Correlation, causation and trace ids that published messages inherit from the current work.
//!
//! Every message published inside [`scope`] gets the correlation id, the causation id and the W3C trace
//! (`traceparent`, `tracestate`) of the context. The inbox runs each handler in such a scope, so that follow-up messages
//! name the message that caused them.

use std::future::Future;

tokio::task_local! {
    static CURRENT: MessageContext;
}

/// Correlation, causation and trace of the current work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageContext {
    /// Id shared by all messages of one business process; `None` if unknown.
    pub correlation_id: Option<String>,
    /// Id of the message that caused this work; `None` if no message did.
    pub causation_id: Option<String>,
    /// Trace and span in the format of W3C Trace Context, section 3.2; `None` without a trace.
    pub traceparent: Option<String>,
    /// State of the trace in the format of W3C Trace Context, section 3.3; `None` without one.
    pub tracestate: Option<String>,
}

impl MessageContext {
    /// Makes an empty context.
    pub const fn new() -> Self {
        Self {
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            tracestate: None,
        }
    }

    /// Sets the correlation id.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the causation id.
    #[must_use]
    pub fn causation_id(mut self, id: impl Into<String>) -> Self {
        self.causation_id = Some(id.into());
        self
    }

    /// Sets the `traceparent`.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Sets the `tracestate`, which belongs to the `traceparent`.
    #[must_use]
    pub fn tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.tracestate = Some(tracestate.into());
        self
    }
}

/// Runs a future; messages that the future publishes inherit `context`.
///
/// Tasks that the future spawns do not inherit the context.
pub async fn scope<F: Future>(context: MessageContext, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// Returns the context of the current task; empty outside [`scope`].
pub fn current() -> MessageContext {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}
