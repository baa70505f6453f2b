//! Consumers that are told to stop while they connect.

use inbox::{Context, HandlerError};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use support::eventually;
use uuid::Uuid;

use crate::world::{Placed, Running, World, insert_effect, properties};

async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    Ok(insert_effect(&mut ctx, &event).await?)
}

/// Whatever it was doing when it was told to stop: a subscription that stays behind would be given all
/// messages, as the single active one.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stops_while_it_connects_leaves_no_subscription_behind() {
    let world = World::new().await;
    let channel = world.broker.channel().await;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    for number in 0..40 {
        let name = format!("stops-{number}");
        let spawn = || {
            let builder = inbox::Consumer::builder(&name)
                .database(world.database.pool(12))
                .amqp_url(world.broker.url());
            Running::spawn(builder.on::<Placed, _, _>(effect))
        };
        let stops = spawn();
        // Just before it subscribes.
        let path = format!("bindings/{}", world.broker.vhost.name);
        eventually("its queue is bound", async || {
            let bindings = world.broker.vhost.request("GET", &path, None);
            let mut bindings = bindings.as_array().into_iter().flatten();
            bindings.any(|binding| binding["destination"] == *name)
        })
        .await;
        stops.stop().await;
        let body = serde_json::to_vec(&Placed::new(&name, number)).unwrap();
        let properties = properties(Uuid::now_v7(), Some(&name), "orders.placed");
        let (options, queue) = (BasicPublishOptions::default(), name.as_str().into());
        let sent = channel.basic_publish("".into(), queue, options, &body, properties);
        sent.await.unwrap().await.unwrap();
        let heir = spawn();
        eventually("its successor is given the message", || async {
            world.database.effects(&name).await == [number]
        })
        .await;
        heir.stop().await;
    }
}
