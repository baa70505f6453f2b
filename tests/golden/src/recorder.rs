//! A subscriber of `tracing` and a recorder of `metrics` that write down what they are told.

use std::{fmt::Debug, sync::Arc};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::facts::Shared;

/// Writes down log lines and spans: level, the crate they come from, message or name, and fields.
pub(crate) struct Lines(pub(crate) Shared);

impl Lines {
    fn write(&self, metadata: &tracing::Metadata<'_>, text: &str, fields: Vec<String>) {
        // Modules are renamed; the name of the crate is what `log.filter` is written with.
        let origin = metadata.target().split("::").next().unwrap_or_default();
        let mut seen = self.0.lock();
        let level = metadata.level();
        seen.lines.push(format!("{level} {origin}: {text}"));
        seen.lines.extend(fields);
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let metadata = span.metadata();
        let text = format!("span {}", metadata.name());
        self.write(metadata, &text, fields.others);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.write(metadata, &fields.message, fields.others);
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            let callsites = &mut self.0.lock().callsites;
            callsites.insert((file.to_owned(), line));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push(format!("    {name}={value:?}")),
        }
    }
}

/// Writes down what happens to metrics: kind, name, labels and value.
pub(crate) struct Series(pub(crate) Shared);

impl Series {
    fn of(&self, kind: &'static str, key: &Key) -> Arc<One> {
        let labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={:?}", label.key(), label.value()))
            .collect();
        let labels = match labels[..] {
            [] => String::new(),
            _ => format!("{{{}}}", labels.join(", ")),
        };
        self.0.lock().metrics.insert(key.name().to_owned());
        Arc::new(One {
            seen: self.0.clone(),
            name: format!("{kind} {}{labels}", key.name()),
        })
    }
}

impl Recorder for Series {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of("counter", key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of("gauge", key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of("histogram", key))
    }
}

/// A series of a metric.
struct One {
    seen: Shared,
    name: String,
}

impl One {
    fn tell(&self, operation: &str, value: f64) {
        let line = format!("    {} {operation}{value}", self.name);
        self.seen.lock().series.insert(line);
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.tell("+", value as f64);
    }

    fn absolute(&self, value: u64) {
        self.tell("=", value as f64);
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.tell("+", value);
    }

    fn decrement(&self, value: f64) {
        self.tell("-", value);
    }

    fn set(&self, value: f64) {
        self.tell("=", value);
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.tell("takes ", value);
    }
}
