//! A message whose handler fails is parked.

use std::time::Duration;

use inbox::{Context, HandlerError, Reason};
use tokio::sync::mpsc;

use postroom_testkit::eventually;

use crate::world::{Log, Placed, Running, World, insert_effect};

#[tokio::test]
async fn a_message_that_fails_each_time_is_dead_until_an_operator_revives_it() {
    let world = World::new().await;
    let log = Log::default();
    let handler = {
        let log = log.clone();
        move |mut ctx: Context, event: Placed| {
            let log = log.clone();
            async move {
                log.add(format!("{} attempt {}", event.n, ctx.attempt()));
                if event.n == 1 && log.count("repaired") == 0 {
                    return Err(HandlerError::retry("broken"));
                }
                insert_effect(&mut ctx, &event).await?;
                Ok(())
            }
        }
    };
    let builder = world
        .consumer()
        .attempts_in_place(2)
        .max_attempts(4)
        .on::<Placed, _, _>(handler);
    let parked = operator(&world);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    world.broker.publish(&Placed::new("a", 2)).await;
    eventually("it is dead, and holds its key", || async {
        world.database.parked().await == ["failed/dead/4/t", "behind/waiting/0/t"]
    })
    .await;
    let attempts: Vec<String> = (1..=4).map(|n| format!("1 attempt {n}")).collect();
    assert_eq!(log.lines(), attempts);
    let listed = parked.list(0, 10).await.unwrap();
    assert!(listed[0].dead && listed[0].holds_key);
    assert_eq!(listed[0].reason, Some(Reason::Failed));
    assert_eq!(
        listed[0].error.as_deref(),
        Some("the handler failed: broken")
    );
    assert_eq!(listed[0].message.key.as_deref(), Some("a"));
    log.add("repaired");
    assert!(parked.retry(listed[0].id).await.unwrap());
    eventually("both are handled", || async {
        world.database.effects("a").await == [1, 2] && world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
}

fn operator(world: &World) -> inbox::Parked {
    inbox::Parked::new(world.database.pool(2), "billing")
}

#[tokio::test]
async fn a_discarded_message_lets_its_key_go_on() {
    let world = World::new().await;
    let handler = |mut ctx: Context, event: Placed| async move {
        if event.n == 1 {
            return Err(HandlerError::reject("no such customer"));
        }
        insert_effect(&mut ctx, &event).await?;
        Ok(())
    };
    let parked = operator(&world);
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=3 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("the rest waits behind", || async {
        world.database.parked().await.len() == 3
    })
    .await;
    let first = parked.list(0, 1).await.unwrap()[0].id;
    assert!(parked.discard(first).await.unwrap());
    assert!(!parked.discard(first).await.unwrap());
    let other = inbox::Parked::new(world.database.pool(2), "somebody else");
    assert!(!other.discard(first + 1).await.unwrap());
    eventually("the rest is handled", || async {
        world.database.effects("a").await == [2, 3]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_dead_message_can_be_made_to_let_its_key_go_on() {
    let world = World::new().await;
    let handler = |mut ctx: Context, event: Placed| async move {
        if event.n == 1 {
            return Err(HandlerError::retry("broken"));
        }
        insert_effect(&mut ctx, &event).await?;
        Ok(())
    };
    let builder = world
        .consumer()
        .attempts_in_place(1)
        .max_attempts(3)
        .release_dead_keys(true)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=4 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("the rest goes on", || async {
        world.database.effects("a").await == [2, 3, 4]
            && world.database.parked().await == ["failed/dead/3/f"]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn panics_timeouts_and_leaked_contexts_are_failures() {
    let world = World::new().await;
    let (leak, mut leaked) = mpsc::unbounded_channel::<Context>();
    let handler = move |mut ctx: Context, event: Placed| {
        let leak = leak.clone();
        async move {
            insert_effect(&mut ctx, &event).await?;
            match event.customer.as_str() {
                "panic" => panic!("out of paper"),
                "sleep" => tokio::time::sleep(Duration::from_mins(5)).await,
                "statement" => {
                    sqlx::query("SELECT pg_sleep(300)")
                        .execute(ctx.connection())
                        .await?;
                }
                "leak" => leak.send(ctx).unwrap(),
                _ => {}
            }
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world
        .consumer()
        .max_attempts(1)
        .handler_timeout(Duration::from_millis(500))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["panic", "sleep", "statement", "leak", "good"] {
        world.broker.publish(&Placed::new(customer, 1)).await;
    }
    eventually("four are parked, one is handled", || async {
        world.database.parked().await == ["failed/dead/1/t"; 4]
            && world.database.effects("good").await == [1]
    })
    .await;
    let errors = "SELECT key || ': ' || error FROM inbox.parked ORDER BY key";
    let errors = world.database.texts(errors).await;
    let expected = [
        "leak: the handler ended but kept its context",
        "panic: the handler panicked: out of paper",
        "sleep: the handler did not end within 500ms",
        "statement: the handler did not end within 500ms",
    ];
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}");
    }
    drop(leaked.recv().await);
    running.stop().await;
    assert_eq!(world.database.count("SELECT count(*) FROM effect").await, 1);
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)%' \
                    AND state = 'active' AND datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(world.database.count(sleeping).await, 0);
}

/// "Try everything again" is what an operator says first.
#[tokio::test]
async fn g4_all_parked_rows_tried_again_keep_the_order_of_their_keys() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            if event.n == 1 && seen.count("repaired") == 0 {
                return Err(HandlerError::retry("broken"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    let builder = world.consumer().max_attempts(3);
    let builder = builder.parked_workers(3).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=4 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    let is_dead = || async {
        let parked = world.database.parked().await;
        parked.len() == 4 && parked[0] == "failed/dead/3/t"
    };
    eventually("one is dead, three are behind it", is_dead).await;
    let everything = "SELECT inbox.retry(id) FROM inbox.parked";
    world.database.execute(everything).await;
    eventually("it is dead again", is_dead).await;
    assert!(world.database.effects("a").await.is_empty());
    log.add("repaired");
    world.database.execute(everything).await;
    eventually("all are handled", || async {
        world.database.effects("a").await == [1, 2, 3, 4]
    })
    .await;
    running.stop().await;
}

/// A deferred delivery may wait for one that is behind others, so deferred ones must not occupy all workers.
#[tokio::test]
async fn deferred_deliveries_do_not_hold_up_a_key_that_goes_on() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            if event.customer == "early" {
                seen.add("put off");
                return Err(HandlerError::defer(Duration::from_millis(100), "not yet"));
            }
            if event.n == 0 && seen.count("repaired") == 0 {
                return Err(HandlerError::reject("broken"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..300 {
        world.broker.publish(&Placed::new("early", n)).await;
    }
    for n in 0..20 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("all are parked", || async {
        world.database.parked().await.len() == 320
    })
    .await;
    log.add("repaired");
    let before = log.count("put off");
    world
        .database
        .execute("SELECT inbox.retry(id) FROM inbox.parked WHERE state = 'dead'")
        .await;
    eventually("the key has gone on", || async {
        world.database.effects("a").await.len() == 20
    })
    .await;
    let meanwhile = log.count("put off") - before;
    running.stop().await;
    // The first of the key waits for its turn; those behind it go on at once.
    assert!(meanwhile < 1_000, "{meanwhile} turns");
}
