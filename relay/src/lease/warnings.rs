//! Warnings that the server sends along with an answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber, dispatcher,
    instrument::WithSubscriber as _,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};

/// Where sqlx reports what the server says besides its answers. It tells nobody else.
const NOTICES: &str = "sqlx::postgres::notice";

/// Counts the warnings that statements meet.
#[derive(Debug)]
pub(super) struct Warnings {
    heard: Arc<AtomicUsize>,
    listener: Dispatch,
}

impl Warnings {
    pub(super) fn new() -> Self {
        let heard = Arc::default();
        let listener = Dispatch::new(Listener {
            heard: Arc::clone(&heard),
            logs: dispatcher::get_default(Dispatch::clone),
        });
        Self { heard, listener }
    }

    /// Runs a statement; returns also how many warnings the server sent meanwhile.
    pub(super) async fn during<T>(&self, statement: impl Future<Output = T>) -> (T, usize) {
        self.heard.store(0, Ordering::Relaxed);
        let answer = statement.with_subscriber(self.listener.clone()).await;
        (answer, self.heard.load(Ordering::Relaxed))
    }
}

/// Hears warnings, and passes everything on to where the logs go.
struct Listener {
    heard: Arc<AtomicUsize>,
    logs: Dispatch,
}

impl Listener {
    fn hears(metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICES && *metadata.level() == Level::WARN
    }
}

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::hears(metadata) || self.logs.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        if Self::hears(event.metadata()) {
            self.heard.fetch_add(1, Ordering::Relaxed);
        }
        if self.logs.enabled(event.metadata()) {
            self.logs.event(event);
        }
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.logs.new_span(attributes)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.logs.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.logs.record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.logs.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.logs.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.logs.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.logs.try_close(span)
    }
}
