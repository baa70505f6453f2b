//! The times at which transactions of deliveries have committed, taken from the inbox's log events: nothing of
//! the consumer changes, as it would with a layer.

use std::{
    fmt::Debug,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::rebuild_interest_cache,
    field::{Field, Visit},
    span::{Attributes, Id},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer, layer::Context, layer::SubscriberExt as _, registry, registry::LookupSpan,
    util::SubscriberInitExt as _,
};
use uuid::Uuid;

use crate::figures::latency::{Times, record};

/// Where the times of the running figure are recorded; `None` while no figure needs them.
static RECORDED: Mutex<Option<Times>> = Mutex::new(None);

static INSTALLED: OnceLock<()> = OnceLock::new();

/// Records the time of each message's commit until the value is dropped.
#[derive(Debug)]
pub(crate) struct Recording;

impl Recording {
    pub(crate) fn start(times: Times) -> Self {
        INSTALLED.get_or_init(|| registry().with(HandledEvents).init());
        *RECORDED.lock().unwrap_or_else(PoisonError::into_inner) = Some(times);
        rebuild_interest_cache();
        Self
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        *RECORDED.lock().unwrap_or_else(PoisonError::into_inner) = None;
        rebuild_interest_cache();
    }
}

/// Id of the message of a span.
struct MessageId(Uuid);

/// The layer that sees spans of deliveries, and the event "handled" in them.
struct HandledEvents;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for HandledEvents {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.is_some() && metadata.target().starts_with("inbox") {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut found = Find::default();
        attributes.record(&mut found);
        if let (Some(message_id), Some(span)) = (found.message_id, context.span(id)) {
            span.extensions_mut().insert(MessageId(message_id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != Level::DEBUG {
            return;
        }
        let mut found = Find::default();
        event.record(&mut found);
        let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(times), Some(span)) =
            (found.is_handled, &*recorded, context.lookup_current())
            && let Some(MessageId(id)) = span.extensions().get()
        {
            record(times, *id);
        }
    }
}

#[derive(Default)]
struct Find {
    message_id: Option<Uuid>,
    is_handled: bool,
}

impl Visit for Find {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message_id" {
            self.message_id = Uuid::try_parse(value).ok();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.is_handled = format!("{value:?}") == "handled";
        }
    }
}
