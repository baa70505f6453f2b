//! What publishers send that are not ours.

use inbox::{Context, HandlerError};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use support::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, Shipped, World, insert_effect, properties};

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
