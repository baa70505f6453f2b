//! The trace of the current span, by the propagator that the service has set.

use std::collections::HashMap;

use opentelemetry::{global, trace::TraceContextExt as _};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::MessageContext;

/// Replaces the trace of a context by that of the current span, if that has one.
pub(crate) fn set(context: &mut MessageContext) {
    let mut current = Span::current().context();
    if !current.span().span_context().is_valid() {
        // A span of the API, without `tracing`.
        current = opentelemetry::Context::current();
    }
    let mut fields = HashMap::new();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&current, &mut fields);
    });
    if let Some(traceparent) = fields.remove("traceparent") {
        context.traceparent = Some(traceparent);
        let tracestate = fields.remove("tracestate");
        context.tracestate = tracestate.filter(|state| !state.is_empty());
    }
}
