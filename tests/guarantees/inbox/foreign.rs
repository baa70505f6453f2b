//! Messages of publishers that do not use Postroom.

use inbox::{Context, HandlerError, QueueKind};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, Shipped, World, insert_effect, metric, properties};

fn table<const N: usize>(headers: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(ShortString::from(name), value);
    }
    table
}

/// CloudEvents sets ids no limit; AMQP sets one to the property that would carry it on.
#[tokio::test]
async fn a_message_with_a_very_long_id_may_cause_others() {
    async fn ship(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
        insert_effect(&mut ctx, &event).await?;
        ctx.publish(&Shipped { n: event.n }).await?;
        Ok(())
    }
    let world = World::new().await;
    let builder = world.consumer().on::<Placed, _, _>(ship);
    let running = Running::start(&world.broker, "billing", builder).await;
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    let id = format!("https://example.org/{}", "x".repeat(280));
    let headers = table([
        ("cloudEvents_id", text(&id)),
        ("cloudEvents_source", text("others")),
    ]);
    let message = BasicProperties::default().with_type("orders.placed".into());
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world
        .broker
        .publish_raw(message.with_headers(headers), &body)
        .await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    let ids =
        "SELECT concat_ws(' ', left(headers ->> 'correlation_id', 7), headers ->> 'causation_id')
               FROM outbox.message";
    assert_eq!(world.database.texts(ids).await, [format!("sha256: {id}")]);
}

#[tokio::test]
async fn a_header_is_of_the_same_kind_after_it_was_parked() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |ctx: Context, _: Placed| {
        seen.add(format!("{:?}", ctx.message().headers.get("amount")));
        let attempt = ctx.attempt();
        async move {
            match attempt {
                1 => Err(HandlerError::retry("once")),
                _ => Ok(()),
            }
        }
    };
    let builder = world
        .consumer()
        .attempts_in_place(1)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    let message = properties(Uuid::now_v7(), None, "orders.placed");
    let headers = table([("amount", AMQPValue::Double(1e16))]);
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world
        .broker
        .publish_raw(message.with_headers(headers), &body)
        .await;
    eventually("it was tried twice", || async { log.lines().len() == 2 }).await;
    running.stop().await;
    assert_eq!(log.count("Some(Float(1e16))"), 2, "{:?}", log.lines());
}

/// A count that is another queue's, of a message that was dead-lettered or shovelled: a classic queue leaves it
/// as it is, and has none of its own.
#[tokio::test]
async fn a_classic_queue_is_not_believed_a_count_of_redeliveries() {
    let world = World::new().await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            seen.add("run");
            if seen.count("run") == 1 {
                return std::future::pending().await;
            }
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = || {
        let builder = world.consumer().queue_kind(QueueKind::Classic);
        builder.on::<Placed, _, _>(handler.clone())
    };
    let running = Running::start(&world.broker, "billing", builder()).await;
    let headers = table([("x-delivery-count", AMQPValue::LongLongInt(5))]);
    let properties = properties(Uuid::now_v7(), None, "orders.placed").with_headers(headers);
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world.broker.publish_raw(properties, &body).await;
    eventually("it runs", async || log.count("run") == 1).await;
    running.kill().await;
    let running = Running::start(&world.broker, "billing", builder()).await;
    eventually("it is handled", async || {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    let counted = recorder.handle().render();
    let parked = metric(&counted, "postroom_inbox_parked_total");
    assert_eq!(parked, Some(0.0), "{counted}");
}
