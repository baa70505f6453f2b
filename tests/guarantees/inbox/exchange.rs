//! The exchange, which others declare, and what the broker's user may do with it.

use inbox::{BrokerError, Context, HandlerError, RunError};
use lapin::{
    ExchangeKind,
    options::{BasicPublishOptions, ExchangeDeclareOptions},
    types::FieldTable,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::{User, eventually};
use uuid::Uuid;

use crate::world::{Placed, Running, World, insert_effect, metric, properties};

async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// Returns the error of a consumer that the broker refuses, and the broker's text.
async fn refusal(running: Running) -> (String, String) {
    let Err(RunError::Broker { source, .. }) = running.result().await else {
        panic!("the broker does not refuse");
    };
    assert!(matches!(source, BrokerError::Refused { .. }), "{source:?}");
    let cause = std::error::Error::source(&source).unwrap().to_string();
    (source.to_string(), cause)
}

/// A user who may declare the exchange may delete it as well.
#[tokio::test]
async fn a_consumer_needs_no_right_to_declare_the_exchange() {
    let world = World::new().await;
    let user = User::new(&world.broker.vhost);
    user.grant("^billing$", "^billing$", "^(billing|postroom)$");
    let builder = || {
        let builder = world.consumer().amqp_url(user.url());
        builder.on::<Placed, _, _>(keep)
    };
    let declares = Running::spawn(builder().declare_exchange(true));
    let (_, cause) = refusal(declares).await;
    assert!(cause.contains("exchange 'postroom'"), "{cause}");
    let running = Running::start(&world.broker, "billing", builder()).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_topic_that_the_user_may_not_read_is_named() {
    let world = World::new().await;
    let user = User::new(&world.broker.vhost);
    user.grant("^billing$", "^billing$", "^(billing|postroom)$");
    user.grant_topics("postroom", "^$", "^orders\\.placed$");
    let builder = || {
        let builder = world.consumer().amqp_url(user.url());
        builder.on::<Placed, _, _>(keep)
    };
    let curious = Running::spawn(builder().bind("#"));
    let (text, cause) = refusal(curious).await;
    assert!(text.contains("each topic that is bound to"), "{text}");
    assert!(cause.contains("topic '#'"), "{cause}");
    let running = Running::start(&world.broker, "billing", builder()).await;
    running.stop().await;
}

/// A consumer may be started before the first relay.
#[tokio::test]
async fn a_consumer_waits_until_somebody_declares_the_exchange() {
    let world = World::new().await;
    let builder = || world.consumer().exchange("later").on::<Placed, _, _>(keep);
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let waits = async |counted: &str| {
        eventually("it waits for the exchange", || async {
            recorder.handle().render().contains(counted)
        })
        .await;
    };
    let count = "postroom_inbox_no_exchange_total{consumer=\"billing\"}";
    // A consumer can stop while it waits.
    let running = Running::spawn(builder());
    waits(&format!("{count} 1")).await;
    running.stop().await;
    let running = Running::spawn(builder());
    waits(&format!("{count} 2")).await;
    assert!(!running.is_finished(), "it gave up");
    assert_eq!(world.broker.queue("billing").await, None);

    let channel = world.broker.channel().await;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            "later".into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await
        .unwrap();
    eventually("it receives", || async {
        matches!(world.broker.queue("billing").await, Some((_, 1)))
    })
    .await;
    let disconnected = recorder.handle().render();
    let disconnected = metric(&disconnected, "postroom_inbox_disconnected_total");
    assert_eq!(disconnected, Some(0.0), "it waits on one connection");
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    channel
        .basic_publish(
            "later".into(),
            "orders.placed".into(),
            BasicPublishOptions::default(),
            &body,
            properties(Uuid::now_v7(), Some("a"), "orders.placed"),
        )
        .await
        .unwrap();
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}
