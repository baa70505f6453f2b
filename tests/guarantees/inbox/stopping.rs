//! Consumers that are told to stop while they connect, or while handlers run.

use std::time::Duration;

use inbox::{Context, HandlerError};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties};

async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    Ok(insert_effect(&mut ctx, &event).await?)
}

/// In each state in which it was told to stop: a subscription that stays behind would receive all
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

/// The end of a handler is waited for whether its message came from the queue or was parked.
#[tokio::test]
async fn handlers_of_parked_messages_that_are_aborted_are_told() {
    let world = World::new().await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let log = Log::default();
    let seen = log.clone();
    let handler = move |_: Context, _: Placed| {
        let seen = seen.clone();
        async move {
            seen.add("run");
            if seen.count("run") == 1 {
                return Err(HandlerError::retry("later"));
            }
            std::future::pending().await
        }
    };
    let builder = world.consumer().attempts_in_place(1);
    let builder = builder
        .grace_period(Duration::from_millis(100))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it runs, parked", async || log.count("run") == 2).await;
    running.stop().await;
    let counted = recorder.handle().render();
    let aborted = "postroom_inbox_aborted_total{consumer=\"billing\"} 1\n";
    assert!(counted.contains(aborted), "{counted}");
}
