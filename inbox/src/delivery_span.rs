//! The span of a delivery, which contains all of its log lines.

use std::{fmt, sync::Arc};

use postroom_message::Incoming;
use tracing::{Span, info_span};

use crate::Delivery;

type MakeSpan = dyn Fn(&Incoming) -> Span + Send + Sync;

/// Makes the spans of deliveries.
#[derive(Clone, Default)]
pub(crate) struct DeliverySpans(Option<Arc<MakeSpan>>);

impl DeliverySpans {
    /// Makes spans with a service's own function.
    pub(crate) fn by(make: impl Fn(&Incoming) -> Span + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(make)))
    }

    /// Makes the span of a delivery, as a child of the publisher's span if the feature `opentelemetry` is on.
    pub(crate) fn make(&self, consumer: &str, delivery: &Delivery) -> Span {
        let message = delivery.message();
        let span = match &self.0 {
            Some(make) => make(message),
            None => default_span(consumer, message),
        };
        #[cfg(feature = "opentelemetry")]
        parent::set(&span, message);
        span
    }
}

fn default_span(consumer: &str, message: &Incoming) -> Span {
    info_span!(
        "delivery",
        consumer,
        message_id = message.message_id,
        topic = message.topic,
        key = message.key,
    )
}

impl fmt::Debug for DeliverySpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_own = self.0.is_some();
        f.debug_tuple("DeliverySpans").field(&is_own).finish()
    }
}

#[cfg(feature = "opentelemetry")]
mod parent {
    //! The publisher's span, read by the propagator that the service has set.

    use std::collections::HashMap;

    use opentelemetry::{global, trace::TraceContextExt as _};
    use postroom_message::Incoming;
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    pub(super) fn set(span: &Span, message: &Incoming) {
        let Some(traceparent) = &message.traceparent else {
            return;
        };
        let mut fields = HashMap::from([("traceparent".to_owned(), traceparent.clone())]);
        if let Some(tracestate) = &message.tracestate {
            fields.insert("tracestate".to_owned(), tracestate.clone());
        }
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&fields));
        if parent.span().span_context().is_valid() {
            // Fails without a layer of OpenTelemetry, which has no use for it.
            let _ = span.set_parent(parent);
        }
    }
}
