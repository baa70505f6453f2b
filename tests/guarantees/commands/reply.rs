//! Replies commit with the work that they report, and reach whoever waits.

use std::time::Duration;

use inbox::{Context, HandlerError, NoReply, Replies};
use outbox::{ReplyTo, Request};
use postroom_testkit::{Consumer, DEADLINE, Login, Settled, eventually};

use crate::world::{Grant, Granted, Running, World, credits, grant, grant_as};

const WINDOW: Duration = Duration::from_hours(1);

#[tokio::test]
async fn g5_a_reply_reaches_whoever_waits_in_any_process() {
    let world = World::new().await;
    let accounts = world.consumer("accounts").keep_replies(WINDOW);
    let accounts = Running::start(accounts).await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    let request = world.request("credits", &grant("a", 5)).await;
    // Another process, which knows the request by its text.
    let elsewhere: Request = request.to_string().parse().unwrap();
    let replies = Replies::new(world.stack.database.pool(Login::Consumer).await, "accounts");
    let (first, second) = tokio::join!(
        replies.wait::<Granted>(request, DEADLINE),
        replies.wait::<Granted>(elsewhere, DEADLINE)
    );
    assert_eq!(first.unwrap(), Granted { cents: 5 });
    assert_eq!(second.unwrap(), Granted { cents: 5 });
    let other = replies.wait::<Grant>(request, DEADLINE).await;
    let Err(NoReply::Unreadable { type_name, .. }) = other else {
        panic!("{other:?}");
    };
    assert_eq!(type_name, "credits.granted");
    running.stop().await;
    accounts.stop().await;
}

#[tokio::test]
async fn g5_nothing_is_lost_when_the_time_is_over() {
    let world = World::new().await;
    let accounts = Running::start(world.consumer("accounts").keep_replies(WINDOW)).await;
    let request = world.request("credits", &grant("a", 5)).await;
    let replies = Replies::new(world.pool.clone(), "accounts");
    let late = replies
        .wait::<Granted>(request, Duration::from_millis(50))
        .await;
    assert!(matches!(late, Err(NoReply::TimedOut { .. })), "{late:?}");
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    let reply = replies.wait::<Granted>(request, DEADLINE).await.unwrap();
    assert_eq!(reply, Granted { cents: 5 });
    running.stop().await;
    accounts.stop().await;
}

/// A handler that asks cannot wait: it handles the reply as a message.
#[tokio::test]
async fn g5_a_reply_is_handled_as_a_message_and_kept_as_well() {
    async fn ask(mut ctx: Context, command: Grant) -> Result<(), HandlerError> {
        let reply_to = ReplyTo::new("accounts", DEADLINE);
        ctx.request("credits", &command, &reply_to).await?;
        Ok(())
    }
    async fn granted(mut ctx: Context, reply: Granted) -> Result<(), HandlerError> {
        let request = ctx.message().in_reply_to.clone();
        let customer = request.is_some().to_string();
        let cents = reply.cents;
        grant_as("accounts", &mut ctx, &Grant { customer, cents }).await
    }
    let world = World::new().await;
    let accounts = world
        .consumer("accounts")
        .on_command(ask)
        .on_command(granted);
    let accounts = Running::start(accounts.keep_replies(WINDOW)).await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    world.send("accounts", &grant("a", 7)).await;
    world.have_effects("accounts", "true", &[7]).await;
    world.have_effects("credits", "a", &[7]).await;
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM inbox.reply WHERE consumer = 'accounts'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(kept, 1);
    running.stop().await;
    accounts.stop().await;
}

#[tokio::test]
async fn g5_an_attempt_that_fails_after_its_reply_replies_nothing() {
    let world = World::new().await;
    let accounts = Running::start(world.consumer("accounts").keep_replies(WINDOW)).await;
    let fails = world
        .consumer("credits")
        .max_attempts(1_000)
        .on_command(credits);
    let running = Running::start(fails).await;
    let request = world.request("credits", &grant("a", 14)).await;
    eventually("it has failed", || async {
        let parked = "SELECT count(*) FROM inbox.parked WHERE reason = 'failed' AND attempts > 3";
        let count: i64 = sqlx::query_scalar(parked)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        count == 1
    })
    .await;
    let replies = Replies::new(world.pool.clone(), "accounts");
    let none = replies
        .wait::<Granted>(request, Duration::from_millis(100))
        .await;
    assert!(matches!(none, Err(NoReply::TimedOut { .. })), "{none:?}");
    assert!(world.effects("credits", "a").await.is_empty());
    running.stop().await;
    accounts.stop().await;
}

#[tokio::test]
async fn a_reply_to_no_request_names_the_cure() {
    async fn replies(mut ctx: Context, _: Grant) -> Result<(), HandlerError> {
        let error = ctx
            .reply(&Granted { cents: 1 })
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("send it with `Outbox::request`"), "{error}");
        grant_as("credits", &mut ctx, &grant("refused", 1)).await
    }
    let world = World::new().await;
    let running = Running::start(world.consumer("credits").on_command(replies)).await;
    world.send("credits", &grant("a", 1)).await;
    world.have_effects("credits", "refused", &[1]).await;
    running.stop().await;
}

/// The proof that everything has settled knows who takes commands and replies.
#[tokio::test]
async fn settled_waits_for_commands_and_their_replies() {
    let world = World::new().await;
    let accounts = Running::start(world.consumer("accounts").keep_replies(WINDOW)).await;
    let running = Running::start(world.consumer("credits").on_command(credits)).await;
    for cents in 100..150 {
        world.request("credits", &grant("a", cents)).await;
    }
    let (none, owner): ([&str; 0], _) = ([], world.stack.database.pool(Login::Owner).await);
    Settled::new()
        .outbox("postroom", &owner)
        .consumer(Consumer::new("credits", &owner, none))
        .consumer(Consumer::new("accounts", &owner, none))
        .wait()
        .await
        .unwrap();
    let count = "SELECT (SELECT count(*) FROM effect), (SELECT count(*) FROM inbox.reply)";
    let counted: (i64, i64) = sqlx::query_as(count).fetch_one(&world.pool).await.unwrap();
    assert_eq!(counted, (50, 50));
    running.stop().await;
    accounts.stop().await;
}
