//! The broker's side: what it refuses, what it loses, and how a consumer ends.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use inbox::{BrokerError, Context, HandlerError, RunError};
use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::sync::Notify;

use postroom_testkit::eventually;

use crate::world::{Log, Placed, Running, World, insert_effect};

async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

fn broker_error(error: &RunError) -> (&BrokerError, String) {
    let RunError::Broker { source, .. } = error else {
        panic!("{error:?}");
    };
    let cause = source.source().map(ToString::to_string);
    (source, cause.unwrap_or_default())
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_refused() {
    let world = World::new().await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let channel = world.broker.channel().await;
    channel
        .queue_declare("billing".into(), durable, FieldTable::default())
        .await
        .unwrap();
    let running = Running::spawn(world.consumer().on::<Placed, _, _>(effect));
    let error = running.result().await.unwrap_err();
    let (error, cause) = broker_error(&error);
    assert!(matches!(error, BrokerError::Queue { queue, .. } if queue == "billing"));
    assert!(cause.contains("inequivalent arg 'x-"), "{cause}");
}

#[tokio::test]
async fn an_argument_that_the_broker_cannot_read_is_told() {
    let world = World::new().await;
    let builder = world
        .consumer()
        .queue_argument("x-max-length", "many")
        .queue_argument("x-overflow", "reject-publish")
        .on::<Placed, _, _>(effect);
    let error = Running::spawn(builder).result().await.unwrap_err();
    let (error, cause) = broker_error(&error);
    assert!(matches!(error, BrokerError::Argument { queue, .. } if queue == "billing"));
    assert!(cause.contains("x-max-length"), "{cause}");
}

#[tokio::test]
async fn an_exchange_of_another_type_is_refused() {
    let world = World::new().await;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let channel = world.broker.channel().await;
    channel
        .exchange_declare(
            "fanned".into(),
            ExchangeKind::Fanout,
            durable,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let builder = world.consumer().exchange("fanned").declare_exchange(true);
    let running = Running::spawn(builder.on::<Placed, _, _>(effect));
    let error = running.result().await.unwrap_err();
    let (error, cause) = broker_error(&error);
    assert!(matches!(error, BrokerError::Exchange { exchange, .. } if exchange == "fanned"));
    assert!(cause.contains("type"), "{cause}");
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_virtual_host_are_refused() {
    let world = World::new().await;
    let right: url::Url = world.broker.url().parse().unwrap();
    let mut wrong_password = right.clone();
    wrong_password.set_password(Some("wrong")).unwrap();
    let mut no_such_vhost = right;
    no_such_vhost.set_path("nowhere");
    for url in [wrong_password, no_such_vhost] {
        let builder = world.consumer().amqp_url(url).on::<Placed, _, _>(effect);
        let error = Running::spawn(builder).result().await.unwrap_err();
        let (error, cause) = broker_error(&error);
        assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
        assert!(!cause.is_empty() && !cause.contains("wrong"), "{cause}");
    }
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again() {
    let world = World::new().await;
    let builder = world.consumer().on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    let channel = world.broker.channel().await;
    let delete = channel.queue_delete("billing".into(), QueueDeleteOptions::default());
    delete.await.unwrap();
    eventually("the queue is there again", || async {
        world
            .broker
            .queue("billing")
            .await
            .is_some_and(|(_, consumers)| consumers == 1)
    })
    .await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("messages are handled again", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_closed_connection_is_made_again_and_nothing_is_handled_twice() {
    let mut world = World::new().await;
    let log = Log::default();
    let go_on = Arc::new(Notify::new());
    let handler = {
        let (log, go_on) = (log.clone(), Arc::clone(&go_on));
        move |mut ctx: Context, event: Placed| {
            let (log, go_on) = (log.clone(), Arc::clone(&go_on));
            async move {
                log.add(format!("{} began", event.n));
                insert_effect(&mut ctx, &event).await?;
                if event.n == 1 {
                    // Until the connection is gone and the message comes again.
                    go_on.notified().await;
                }
                Ok::<_, HandlerError>(())
            }
        }
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=20 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("the first is being handled", || async {
        log.count("1 began") == 1
    })
    .await;
    let names = |world: &World| world.broker.vhost.connections();
    eventually("the broker lists publisher and consumer", || async {
        names(&world).len() == 2
    })
    .await;
    let old = names(&world);
    world.broker.vhost.close_connections();
    world.broker = world.broker.reconnect().await;
    eventually("both are connected again", || async {
        let now = names(&world);
        now.len() == 2 && now.iter().all(|name| !old.contains(name))
    })
    .await;
    go_on.notify_one();
    eventually("all are handled", || async {
        world.database.effects("a").await.len() == 20
            && world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
    running.stop().await;
    let expected: Vec<i64> = (1..=20).collect();
    assert_eq!(world.database.effects("a").await, expected);
    assert_eq!(log.count("1 began"), 1);
    world.broker.settled("billing").await;
}

#[tokio::test]
async fn stopping_finishes_what_runs_and_starts_nothing() {
    let world = World::new().await;
    let log = Log::default();
    let go_on = Arc::new(Notify::new());
    let handler = {
        let (log, go_on) = (log.clone(), Arc::clone(&go_on));
        move |mut ctx: Context, event: Placed| {
            let (log, go_on) = (log.clone(), Arc::clone(&go_on));
            async move {
                log.add("began");
                go_on.notified().await;
                insert_effect(&mut ctx, &event).await?;
                Ok::<_, HandlerError>(())
            }
        }
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=3 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("the first is being handled", || async {
        log.count("began") == 1
    })
    .await;
    running.begin_stop();
    tokio::task::yield_now().await;
    assert!(!running.is_finished());
    go_on.notify_one();
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [1]);
    assert_eq!(log.count("began"), 1);
    eventually("the others are in the queue", || async {
        world.broker.queue("billing").await == Some((2, 0))
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_outlives_the_grace_period_is_aborted_and_its_message_comes_again() {
    let world = World::new().await;
    let hangs = Arc::new(AtomicBool::new(true));
    let log = Log::default();
    let handler = {
        let (log, hangs) = (log.clone(), Arc::clone(&hangs));
        move |mut ctx: Context, event: Placed| {
            let (log, hangs) = (log.clone(), Arc::clone(&hangs));
            async move {
                insert_effect(&mut ctx, &event).await?;
                log.add("began");
                if hangs.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                Ok::<_, HandlerError>(())
            }
        }
    };
    let builder = || {
        world
            .consumer()
            .grace_period(std::time::Duration::from_millis(100))
            .on::<Placed, _, _>(handler.clone())
    };
    let running = Running::start(&world.broker, "billing", builder()).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it hangs", || async { log.count("began") == 1 }).await;
    running.stop().await;
    assert!(world.database.effects("a").await.is_empty());
    hangs.store(false, Ordering::SeqCst);
    let running = Running::start(&world.broker, "billing", builder()).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_crash_while_a_message_is_handled_loses_nothing() {
    let world = World::new().await;
    let log = Log::default();
    let handler = {
        let log = log.clone();
        move |mut ctx: Context, event: Placed| {
            let log = log.clone();
            async move {
                insert_effect(&mut ctx, &event).await?;
                log.add("began");
                if log.count("began") == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<_, HandlerError>(())
            }
        }
    };
    let builder = || world.consumer().on::<Placed, _, _>(handler.clone());
    let running = Running::start(&world.broker, "billing", builder()).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is being handled", || async { log.count("began") == 1 }).await;
    running.kill().await;
    let running = Running::start(&world.broker, "billing", builder()).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}
