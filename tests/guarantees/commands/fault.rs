//! Requests that are given up: nobody waits for ever.

use std::time::Duration;

use inbox::{Context, Fault, HandlerError, NoReply, Remember, Replies};
use outbox::Request;
use postroom_testkit::{DEADLINE, eventually};

use crate::world::{Grant, Granted, Running, World, credits, grant, grant_as};

async fn fault(world: &World, request: Request) -> Fault {
    let replies = Replies::new(world.pool.clone(), "accounts");
    match replies.wait::<Granted>(request, DEADLINE).await {
        Err(NoReply::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn g5_a_request_that_is_given_up_is_replied_to_with_a_fault() {
    async fn faults(mut ctx: Context, fault: Fault) -> Result<(), HandlerError> {
        let customer = fault.reason;
        grant_as("accounts", &mut ctx, &Grant { customer, cents: 0 }).await
    }
    let world = World::new().await;
    let accounts = world.consumer("accounts").on_command(faults);
    let accounts = accounts.keep_replies(Duration::from_hours(1));
    let accounts = Running::start(accounts).await;
    let fails = world
        .consumer("credits")
        .attempts_in_place(1)
        .max_attempts(3);
    let running = Running::start(fails.on_command(credits)).await;
    let rejected = world.request("credits", &grant("a", 13)).await;
    let failed = world.request("credits", &grant("b", 14)).await;
    let rejected = fault(&world, rejected).await;
    assert_eq!(
        (&*rejected.consumer, &*rejected.reason),
        ("credits", "rejected")
    );
    assert!(rejected.error.unwrap().contains("13 cents"));
    assert_eq!(fault(&world, failed).await.reason, "failed");
    world.have_effects("accounts", "rejected", &[0]).await;
    world.have_effects("accounts", "failed", &[0]).await;
    assert!(world.effects("credits", "a").await.is_empty());
    running.stop().await;
    accounts.stop().await;
}

/// The handler is not called, so it replies to nobody: in transactions of their own and in a shared one.
#[tokio::test]
async fn g5_a_request_whose_idempotency_key_another_had_is_replied_to_with_a_fault() {
    let world = World::new().await;
    let accounts = world
        .consumer("accounts")
        .keep_replies(Duration::from_hours(1));
    let accounts = Running::start(accounts).await;
    for (together, customer) in [(1, "a"), (10, "b")] {
        let once = world
            .consumer("credits")
            .workers(1)
            .messages_per_transaction(together)
            .on_command(credits)
            .idempotency_key(Remember::Forever, |grant: &Grant| grant.customer.clone());
        Running::start(world.consumer("credits").on_command(credits))
            .await
            .stop()
            .await;
        let mut requests = Vec::new();
        for cents in 1..=4 {
            requests.push(world.request("credits", &grant(customer, cents)).await);
        }
        let running = Running::start(once).await;
        let replies = Replies::new(world.pool.clone(), "accounts");
        let first = replies.wait::<Granted>(requests.remove(0), DEADLINE).await;
        assert_eq!(first.unwrap(), Granted { cents: 1 });
        for request in requests {
            let fault = fault(&world, request).await;
            assert_eq!(fault.reason, "duplicate_key");
            let error = fault.error.unwrap();
            assert!(error.contains(&format!("{customer:?}")), "{error}");
        }
        assert_eq!(world.effects("credits", customer).await, [1]);
        running.stop().await;
    }
    accounts.stop().await;
}

/// The right to publish may be missing; the message must be dead nevertheless.
#[tokio::test]
async fn a_consumer_that_may_not_publish_gives_a_request_up_without_a_reply() {
    let world = World::new().await;
    let rejects = async |_: Context, _: Grant| Err::<(), _>(HandlerError::reject("no"));
    let running = Running::start(world.consumer("credits").on_command(rejects)).await;
    let owner = world
        .stack
        .database
        .pool(postroom_testkit::Login::Admin)
        .await;
    let revoke = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN RAISE 'no right to publish' USING ERRCODE = '42501'; END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON outbox.message FOR EACH ROW
                  WHEN (NEW.type = 'postroom.fault') EXECUTE FUNCTION refuse()";
    sqlx::raw_sql(revoke).execute(&owner).await.unwrap();
    let _request = world.request("credits", &grant("a", 1)).await;
    eventually("it is dead", || async {
        let dead = "SELECT count(*) FROM inbox.parked WHERE state = 'dead' AND reason = 'rejected'";
        let count: i64 = sqlx::query_scalar(dead)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        count == 1
    })
    .await;
    running.stop().await;
}
