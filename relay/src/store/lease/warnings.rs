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

/// Target of the tracing events in which sqlx reports the server's notices. sqlx reports them
/// nowhere else.
const NOTICES: &str = "sqlx::postgres::notice";

/// Counts the warnings that the server sends during statements.
#[derive(Debug)]
pub(super) struct Warnings {
    count: Arc<AtomicUsize>,
    listener: Dispatch,
}

impl Warnings {
    pub(super) fn new() -> Self {
        let count = Arc::default();
        let listener = Dispatch::new(Listener {
            count: Arc::clone(&count),
            logs: dispatcher::get_default(Dispatch::clone),
        });
        Self { count, listener }
    }

    /// Runs a statement; also returns the number of warnings that the server sent meanwhile.
    pub(super) async fn during<T>(&self, statement: impl Future<Output = T>) -> (T, usize) {
        self.count.store(0, Ordering::Relaxed);
        let answer = statement.with_subscriber(self.listener.clone()).await;
        (answer, self.count.load(Ordering::Relaxed))
    }
}

/// Subscriber that counts warnings and passes everything on to the logs.
struct Listener {
    count: Arc<AtomicUsize>,
    logs: Dispatch,
}

impl Listener {
    fn is_warning(metadata: &Metadata<'_>) -> bool {
        metadata.target() == NOTICES && *metadata.level() == Level::WARN
    }
}

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::is_warning(metadata) || self.logs.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        if Self::is_warning(event.metadata()) {
            self.count.fetch_add(1, Ordering::Relaxed);
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
