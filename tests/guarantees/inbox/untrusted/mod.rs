//! Messages of publishers whom a consumer does not trust, by users of the broker with the right to write.

mod publishers;

use inbox::{Context, HandlerError};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World};

use publishers::{Publisher, forge, handle, trusting};

async fn forged_messages_change_nothing(messages_per_transaction: usize) {
    let world = World::new().await;
    let relay = Publisher::new(&world).await;
    let forger = Publisher::new(&world).await;
    let builder = trusting(&world, &relay).messages_per_transaction(messages_per_transaction);
    let running = Running::start(&world.broker, "billing", builder).await;
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    forge(&forger, &ids, "a").await;
    for (n, &id) in (1..).zip(&ids) {
        relay.publish_event(id, &Placed::new("a", n)).await;
        forge(&forger, &[id], "a").await;
    }
    eventually("the true messages are handled", async || {
        world.database.effects("a").await == [1, 2, 3]
    })
    .await;
    // Duplicates are known, and the key goes on.
    relay.publish_event(ids[0], &Placed::new("a", 1)).await;
    relay
        .publish_event(Uuid::now_v7(), &Placed::new("a", 4))
        .await;
    let count = 20 + 3 * 8;
    eventually("everything is settled", async || {
        world.database.effects("a").await == [1, 2, 3, 4]
            && world.database.parked().await.len() == count
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    assert_eq!(
        world.database.parked().await,
        vec!["untrusted/dead/0/f"; count]
    );
    let recorded = "SELECT (SELECT count(*) FROM inbox.processed)
                           + (SELECT count(*) FROM inbox.processed_other)";
    assert_eq!(world.database.count(recorded).await, 4);
    assert_eq!(world.database.effects("a").await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn g4_g5_forged_messages_suppress_no_id_and_hold_no_key() {
    forged_messages_change_nothing(1).await;
}

#[tokio::test]
async fn g4_g5_forged_messages_change_nothing_where_messages_share_transactions() {
    forged_messages_change_nothing(50).await;
}

#[tokio::test]
async fn a_flood_of_forged_messages_is_kept_up_to_the_limit_and_counted() {
    let world = World::new().await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let relay = Publisher::new(&world).await;
    let forger = Publisher::new(&world).await;
    let builder = trusting(&world, &relay).untrusted_kept(5);
    let running = Running::start(&world.broker, "billing", builder).await;
    // One too large to keep.
    let large = forger.properties(Uuid::now_v7(), "a");
    forger.publish(large, &vec![b'x'; 2 << 20]).await;
    for n in 1..=3 {
        for _ in 0..100 {
            let event = Placed::new("a", 0);
            forger.publish_event(Uuid::now_v7(), &event).await;
        }
        relay
            .publish_event(Uuid::now_v7(), &Placed::new("a", n))
            .await;
    }
    eventually("the true messages are handled", async || {
        world.database.effects("a").await == [1, 2, 3]
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    assert_eq!(world.database.parked().await, ["untrusted/dead/0/f"; 5]);
    let largest = "SELECT max(octet_length(payload))::bigint FROM inbox.parked";
    assert!(world.database.count(largest).await < 1 << 20);
    let counted = recorder.handle().render();
    for expected in [
        r#"postroom_inbox_untrusted_dropped_total{consumer="billing"} 296"#,
        r#"postroom_inbox_parked_total{consumer="billing",reason="untrusted"} 5"#,
    ] {
        assert!(counted.contains(expected), "{counted}");
    }
    // A message that an operator discards makes room.
    let discard = "SELECT count(inbox.discard(id)) FROM inbox.parked";
    assert_eq!(world.database.count(discard).await, 5);
    let builder = trusting(&world, &relay).untrusted_kept(5);
    let running = Running::start(&world.broker, "billing", builder).await;
    let event = Placed::new("a", 0);
    forger.publish_event(Uuid::now_v7(), &event).await;
    eventually("it is kept", async || {
        world.database.parked().await == ["untrusted/dead/0/f"]
    })
    .await;
    running.stop().await;
}

/// Retried by an operator, a message is judged again, and recorded only if its publisher is trusted by then.
#[tokio::test]
async fn g5_an_untrusted_message_that_is_retried_is_judged_again() {
    let world = World::new().await;
    let relay = Publisher::new(&world).await;
    let other = Publisher::new(&world).await;
    let running = Running::start(&world.broker, "billing", trusting(&world, &relay)).await;
    let (known, new) = (Uuid::now_v7(), Uuid::now_v7());
    other.publish_event(known, &Placed::new("a", 7)).await;
    other.publish_event(new, &Placed::new("a", 2)).await;
    relay.publish_event(known, &Placed::new("a", 1)).await;
    let both = ["untrusted/dead/0/f"; 2];
    eventually("two are parked", async || {
        world.database.effects("a").await == [1] && world.database.parked().await == both
    })
    .await;
    let retry = "SELECT count(*) FROM inbox.parked WHERE inbox.retry(id)";
    assert_eq!(world.database.count(retry).await, 2);
    eventually("they are untrusted still", async || {
        world.database.parked().await == both
    })
    .await;
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [1]);

    let names = [&relay, &other].map(|publisher| publisher.user.name.as_str());
    let builder = world.consumer().on::<Placed, _, _>(handle);
    let builder = builder.trusted_publishers(names);
    let running = Running::start(&world.broker, "billing", builder).await;
    assert_eq!(world.database.count(retry).await, 2);
    eventually(
        "the new one is handled, the other is a duplicate",
        async || {
            world.database.effects("a").await == [1, 2] && world.database.parked().await.is_empty()
        },
    )
    .await;
    // Copies find the records.
    for (id, n) in [(known, 1), (new, 2)] {
        relay.publish_event(id, &Placed::new("a", n)).await;
    }
    relay
        .publish_event(Uuid::now_v7(), &Placed::new("a", 3))
        .await;
    eventually("the next one is handled", async || {
        world.database.effects("a").await == [1, 2, 3]
    })
    .await;
    running.stop().await;
}

/// An admitted message stands behind the parked messages of its key.
#[tokio::test]
async fn g4_an_untrusted_message_that_is_trusted_later_is_behind_its_key() {
    let world = World::new().await;
    let relay = Publisher::new(&world).await;
    let other = Publisher::new(&world).await;
    let running = Running::start(&world.broker, "billing", trusting(&world, &relay)).await;
    other
        .publish_event(Uuid::now_v7(), &Placed::new("a", 2))
        .await;
    relay
        .publish_event(Uuid::now_v7(), &Placed::new("a", 0))
        .await;
    eventually("one is untrusted, and one failed", async || {
        // Workers may park them in either order.
        let mut parked = world.database.parked().await;
        parked.sort_unstable();
        parked == ["rejected/dead/1/t", "untrusted/dead/0/f"]
    })
    .await;
    running.stop().await;
    let names = [&relay, &other].map(|publisher| publisher.user.name.as_str());
    let builder = world.consumer().on::<Placed, _, _>(handle);
    let builder = builder.trusted_publishers(names);
    let running = Running::start(&world.broker, "billing", builder).await;
    let retry = "SELECT count(*) FROM inbox.parked WHERE reason = 'untrusted' AND inbox.retry(id)";
    assert_eq!(world.database.count(retry).await, 1);
    eventually("it is behind", async || {
        world.database.parked().await == ["rejected/dead/1/t", "behind/waiting/0/t"]
    })
    .await;
    let discard =
        "SELECT count(*) FROM inbox.parked WHERE reason = 'rejected' AND inbox.discard(id)";
    assert_eq!(world.database.count(discard).await, 1);
    eventually("it is handled", async || {
        world.database.effects("a").await == [2]
    })
    .await;
    running.stop().await;
}

/// A handler that ends its transaction is parked although its record exists, unless it is parked already.
#[tokio::test]
async fn a_forged_message_does_not_pass_for_a_parked_one() {
    let world = World::new().await;
    let relay = Publisher::new(&world).await;
    let forger = Publisher::new(&world).await;
    let handler = |mut ctx: Context, _: Placed| async move {
        sqlx::raw_sql("COMMIT").execute(ctx.connection()).await?;
        Err::<(), _>(HandlerError::retry("after its commit"))
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let builder = builder.trusted_publishers([relay.user.name.as_str()]);
    let running = Running::start(&world.broker, "billing", builder).await;
    let id = Uuid::now_v7();
    forger.publish_event(id, &Placed::new("a", 1)).await;
    eventually("it is parked", async || {
        world.database.parked().await == ["untrusted/dead/0/f"]
    })
    .await;
    relay.publish_event(id, &Placed::new("a", 1)).await;
    eventually("the true one is parked too", async || {
        world.database.parked().await.len() == 2
    })
    .await;
    running.stop().await;
}

/// Handlers learn who published, also after the message was parked.
#[tokio::test]
async fn a_handler_sees_the_publisher_that_the_broker_verified() {
    let world = World::new().await;
    let relay = Publisher::new(&world).await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |ctx: Context, _: Placed| {
        seen.add(ctx.message().user_id.clone().unwrap_or_default());
        let attempt = ctx.attempt();
        async move {
            match attempt {
                1 => Err(HandlerError::retry("once")),
                _ => Ok(()),
            }
        }
    };
    let builder = world.consumer().attempts_in_place(1);
    let builder = builder.on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    relay
        .publish_event(Uuid::now_v7(), &Placed::new("a", 1))
        .await;
    eventually("it was tried twice", async || log.lines().len() == 2).await;
    running.stop().await;
    assert_eq!(log.count(&relay.user.name), 2, "{:?}", log.lines());
}
