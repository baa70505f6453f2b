//! Commands reach the consumer that they name, and nobody else.

use inbox::Context;
use lapin::options::ExchangeDeleteOptions;
use outbox::Outbox;
use postroom_testkit::{User, eventually};

use crate::world::{Grant, Running, World, credits, grant, grant_as};

async fn parked(world: &World) -> Vec<String> {
    let pool = world
        .stack
        .database
        .pool(postroom_testkit::Login::Owner)
        .await;
    let sql = "SELECT p.reason || ' ' || m.topic FROM outbox.parked AS p
               JOIN outbox.message AS m USING (position) ORDER BY p.position";
    sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap()
}

#[tokio::test]
async fn g3_a_command_waits_for_its_consumer_while_others_go_on() {
    // A command is never dropped, whatever is dropped else.
    let drops = [("POSTROOM_PUBLISH_DROP_UNROUTABLE", "#")];
    let world = World::with(&drops).await;
    let others = Running::start(world.consumer("others").on_command(
        async |mut ctx: Context, command: Grant| grant_as("others", &mut ctx, &command).await,
    ))
    .await;
    for cents in 1..=3 {
        world.send("credits", &grant("a", cents)).await;
        world.send("others", &grant("a", cents)).await;
    }
    world.have_effects("others", "a", &[1, 2, 3]).await;
    eventually("the commands are kept", || async {
        parked(&world)
            .await
            .iter()
            .filter(|row| *row == "unroutable postroom.in.credits")
            .count()
            >= 1
    })
    .await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    world.have_effects("credits", "a", &[1, 2, 3]).await;
    assert_eq!(world.effects("others", "a").await, [1, 2, 3]);
    running.stop().await;
    others.stop().await;
}

#[tokio::test]
async fn g4_a_published_event_of_the_same_type_reaches_all_and_a_command_one() {
    let world = World::new().await;
    let listener = Running::start(
        world
            .consumer("others")
            .on(async |mut ctx: Context, command: Grant| {
                grant_as("others", &mut ctx, &command).await
            }),
    )
    .await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    world.send("credits", &grant("a", 1)).await;
    let mut tx = outbox::transaction::begin(&world.pool).await.unwrap();
    Outbox::new()
        .publish(&mut tx, &grant("a", 2))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.send("credits", &grant("a", 3)).await;
    world.have_effects("others", "a", &[2]).await;
    world.have_effects("credits", "a", &[1, 3]).await;
    running.stop().await;
    listener.stop().await;
}

/// Whoever may write to the exchange of all topics may command nobody by that.
#[tokio::test]
async fn g3_a_relay_that_may_not_write_to_a_consumer_keeps_the_command_and_goes_on() {
    let mut world = World::new().await;
    let user = User::new(&world.stack.broker);
    let grants = |write: &str| user.grant("^postroom", write, ".*");
    grants("^postroom(\\.fence.*)?$");
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    let listener = Running::start(
        world
            .consumer("others")
            .on(async |mut ctx: Context, command: Grant| {
                grant_as("others", &mut ctx, &command).await
            }),
    )
    .await;
    world.relay_as(&user.url()).await;
    world.send("credits", &grant("a", 1)).await;
    let mut tx = outbox::transaction::begin(&world.pool).await.unwrap();
    Outbox::new()
        .publish(&mut tx, &grant("a", 2))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.have_effects("others", "a", &[2]).await;
    eventually("the command is kept", || async {
        parked(&world).await == ["unroutable postroom.in.credits"]
    })
    .await;
    assert!(world.effects("credits", "a").await.is_empty());
    grants("^postroom(\\.fence.*|\\.in\\.credits)?$");
    world.have_effects("credits", "a", &[1]).await;
    running.stop().await;
    listener.stop().await;
}

#[tokio::test]
async fn g3_an_exchange_that_is_deleted_is_declared_again_and_nothing_is_lost() {
    let world = World::new().await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    world.send("credits", &grant("a", 1)).await;
    world.have_effects("credits", "a", &[1]).await;
    let (connection, channel) = world.stack.broker.channel().await;
    let delete = channel.exchange_delete(
        "postroom.in.credits".into(),
        ExchangeDeleteOptions::default(),
    );
    delete.await.unwrap();
    connection.close(200, "".into()).await.unwrap();
    world.send("credits", &grant("a", 2)).await;
    world.send("credits", &grant("b", 3)).await;
    world.have_effects("credits", "a", &[1, 2]).await;
    world.have_effects("credits", "b", &[3]).await;
    running.stop().await;
}

#[tokio::test]
async fn g4_commands_keep_the_order_of_their_key_while_relays_are_killed() {
    let mut world = World::new().await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    let expected: Vec<i64> = (100..200).collect();
    for cents in &expected {
        world.send("credits", &grant("a", *cents)).await;
        world.send("credits", &grant("b", *cents)).await;
        if cents % 40 == 0 {
            world.replace_relay().await;
        }
    }
    world.have_effects("credits", "a", &expected).await;
    world.have_effects("credits", "b", &expected).await;
    running.stop().await;
}

#[tokio::test]
async fn a_name_that_no_exchange_can_have_is_refused() {
    let world = World::new().await;
    let mut tx = outbox::transaction::begin(&world.pool).await.unwrap();
    for name in ["", "a.*", &"x".repeat(244)] {
        let sent = Outbox::new().send(&mut tx, name, &grant("a", 1)).await;
        let error = sent.unwrap_err().to_string();
        assert!(error.contains("topic"), "{error}");
    }
    let long = world.consumer(&"x".repeat(244)).on_command(credits).build();
    assert!(long.unwrap_err().to_string().contains("own exchange"));
    tx.rollback().await.unwrap();
}
