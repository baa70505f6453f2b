//! Correlation, causation and trace come from the current context.

use outbox::{Message, MessageContext, Outbox};
use postroom_testkit::{Login, Stack, declare};

use crate::{take, text};

const SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OUTER_SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

/// Returns the parts of its context that a published message has at the broker.
async fn inherited(outbox: Outbox, context: Option<MessageContext>) -> [Option<String>; 3] {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "all", "#", lapin::types::FieldTable::default()).await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let message = || Message::bytes("t", "text/plain", "").unwrap();
    let work = async {
        outbox.publish(&mut tx, message()).await.unwrap();
        outbox.publish_all(&mut tx, [message()]).await.unwrap();
    };
    match context {
        Some(context) => outbox::context::scope(context, work).await,
        None => work.await,
    }
    tx.commit().await.unwrap();
    let _relay = stack.relay().await;
    let shown = async || {
        let (properties, _) = take(&channel, "all").await;
        [
            properties
                .correlation_id()
                .as_ref()
                .map(ToString::to_string),
            text(&properties, "cloudEvents_causationid"),
            text(&properties, "traceparent"),
        ]
    };
    let one = shown().await;
    assert_eq!(shown().await, one, "one by one as all together");
    one
}

#[tokio::test]
async fn messages_inherit_the_scope_they_are_published_in() {
    let context = MessageContext::new()
        .correlation_id("order-7")
        .causation_id("cause-1")
        .traceparent(OUTER_SPAN);
    let shown = inherited(Outbox::new(), Some(context)).await;
    assert_eq!(
        shown,
        ["order-7", "cause-1", OUTER_SPAN].map(|s| Some(s.to_owned()))
    );
}

#[tokio::test]
async fn the_tracing_librarys_span_stands_above_the_scopes() {
    let outbox = Outbox::new().traceparent_from(|| Some(SPAN.to_owned()));
    let context = MessageContext::new().traceparent(OUTER_SPAN);
    let shown = inherited(outbox, Some(context)).await;
    assert_eq!(shown, [None, None, Some(SPAN.to_owned())]);
}

#[tokio::test]
async fn without_a_span_the_scopes_trace_is_kept() {
    let outbox = Outbox::new().traceparent_from(|| None);
    let context = MessageContext::new().traceparent(OUTER_SPAN);
    let shown = inherited(outbox, Some(context)).await;
    assert_eq!(shown, [None, None, Some(OUTER_SPAN.to_owned())]);
}

#[tokio::test]
async fn outside_a_scope_nothing_is_inherited() {
    assert_eq!(inherited(Outbox::new(), None).await, [None, None, None]);
}
