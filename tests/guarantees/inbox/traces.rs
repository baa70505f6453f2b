//! Traces from the publisher's span to the handler's, and on to what the handler publishes.

use inbox::{Context, HandlerError, Incoming};
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use outbox::Outbox;
use postroom_testkit::eventually;
use serde_json::Value;
use sqlx::PgPool;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;
use uuid::Uuid;

use crate::world::{Placed, Running, Shipped, World, insert_effect, properties};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Records the spans of this thread, on which everything of a test runs.
struct Recording {
    provider: SdkTracerProvider,
    exporter: InMemorySpanExporter,
    _subscriber: tracing::subscriber::DefaultGuard,
}

impl Recording {
    fn start() -> Self {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder();
        let provider = provider.with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            _subscriber: tracing::subscriber::set_default(subscriber),
            provider,
            exporter,
        }
    }

    fn span(&self, name: &str) -> SpanData {
        self.provider.force_flush().unwrap();
        let spans = self.exporter.get_finished_spans().unwrap();
        let found = spans.iter().find(|span| span.name == name);
        found
            .unwrap_or_else(|| panic!("no span {name:?} among {spans:?}"))
            .clone()
    }
}

/// Returns trace and span of the only message of a topic, and its state.
async fn trace_of(pool: &PgPool, topic: &str) -> (String, String, Value) {
    let sql = "SELECT headers FROM outbox.message WHERE topic = $1";
    let headers: Value = sqlx::query_scalar(sql)
        .bind(topic)
        .fetch_one(pool)
        .await
        .unwrap();
    let mut parts = headers["traceparent"]
        .as_str()
        .unwrap()
        .split('-')
        .map(str::to_owned);
    let (trace, span) = (parts.nth(1).unwrap(), parts.next().unwrap());
    (trace, span, headers["tracestate"].clone())
}

#[tokio::test]
async fn a_published_message_carries_the_current_span() {
    let world = World::new().await;
    let recording = Recording::start();
    let pool = world.database.pool(2);
    let publish = async {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        Outbox::new()
            .publish(&mut tx, &Placed::new("a", 1))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    publish.instrument(info_span!("request")).await;
    let (trace, span, _) = trace_of(&world.database.admin, "orders.placed").await;
    let request = recording.span("request").span_context;
    assert_eq!(trace, request.trace_id().to_string());
    assert_eq!(span, request.span_id().to_string());
}

#[tokio::test]
async fn a_delivery_is_a_child_of_the_publishers_span_and_the_parent_of_follow_ups() {
    async fn ship(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
        insert_effect(&mut ctx, &event).await?;
        ctx.publish(&Shipped { n: event.n }).await?;
        Ok(())
    }
    let world = World::new().await;
    let recording = Recording::start();
    let builder = world
        .consumer()
        .make_span(|message: &Incoming| info_span!("order", topic = message.topic))
        .on::<Placed, _, _>(ship);
    let running = Running::start(&world.broker, "billing", builder).await;
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("traceparent", format!("00-{TRACE}-{SPAN}-01")),
        ("tracestate", "vendor=1".to_owned()),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = properties(Uuid::now_v7(), None, "orders.placed").with_headers(headers);
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world.broker.publish_raw(properties, &body).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    let order = recording.span("order");
    assert_eq!(order.span_context.trace_id().to_string(), TRACE);
    assert_eq!(order.parent_span_id.to_string(), SPAN);
    let (trace, span, state) = trace_of(&world.database.admin, "orders.shipped").await;
    assert_eq!(trace, TRACE);
    assert_eq!(span, order.span_context.span_id().to_string());
    assert_eq!(state, "vendor=1");
}
