//! The fence is the relay's alone. A fence's name that another client has taken is reported, and so is a missing right.

use lapin::{
    Channel, Connection,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use postroom_testkit::{RelayProcess, Stack, User, eventually, short};

use crate::documented::{self, checked_fence};

/// A stack with an exchange, the expression for its fence, and the fence's name.
async fn prepared() -> (Stack, String, String) {
    let stack = Stack::new().await;
    let pattern = documented::declare_exchange_and_find_fence(&stack).await;
    let fence = pattern.trim_matches(['^', '$']).replace('\\', "");
    (stack, pattern, fence)
}

fn start(stack: &Stack, user: &User) -> RelayProcess {
    let settings = documented::settings(user);
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    stack.start_relay(&settings)
}

/// Declares a queue by the fence's name.
async fn squat(stack: &Stack, fence: &str, options: QueueDeclareOptions) -> (Connection, Channel) {
    let (connection, channel) = stack.broker.channel().await;
    let declared = channel.queue_declare(short(fence), options, FieldTable::default());
    declared.await.unwrap();
    (connection, channel)
}

/// Waits until the relay is not ready for a reason, which `/health/ready` tells.
async fn is_kept_away(relay: &RelayProcess, state: &str, why: &[&str]) {
    eventually(&format!("the relay tells {why:?}"), async || {
        relay.health().is_some_and(|(ready, health)| {
            let problem = health["problem"].as_str().unwrap_or_default();
            !ready && health["broker"] == state && why.iter().all(|part| problem.contains(part))
        })
    })
    .await;
}

#[track_caller]
fn assert_says((ok, detail): (bool, String), expected: bool, parts: &[&str]) {
    assert_eq!(ok, expected, "{detail}");
    for part in parts {
        assert!(detail.contains(part), "{part:?} is missing: {detail}");
    }
}

#[tokio::test]
async fn check_tries_the_very_fence_and_gives_it_back() {
    let (stack, pattern, fence) = prepared().await;
    let free = [&*fence, "is free"];
    let broad = [&*fence, "is free", "those of other outboxes too", &*pattern];
    assert_says(checked_fence(&stack, None).await, true, &broad);
    let user = documented::relay(&stack, &pattern);
    let narrow = checked_fence(&stack, Some(&user)).await;
    assert!(!narrow.1.contains("other outboxes"), "{}", narrow.1);
    assert_says(narrow, true, &free);
    // The check gave the fence back.
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let (connection, _channel) = squat(&stack, &fence, exclusive).await;
    connection.close(200, short("done")).await.unwrap();
    let relay = start(&stack, &user);
    relay.ready().await;
    let held = [&*fence, "is held", "holds the lease"];
    assert_says(checked_fence(&stack, Some(&user)).await, true, &held);
    relay.ready().await;
}

#[tokio::test]
async fn g7_a_fence_that_another_connection_has_taken_is_told() {
    let (stack, pattern, fence) = prepared().await;
    let user = documented::relay(&stack, &pattern);
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let (squatter, _channel) = squat(&stack, &fence, exclusive).await;
    let taken = [
        "taken by somebody else",
        "no relay holds the lease",
        &*fence,
        "list_queues name owner_pid",
        &*pattern,
    ];
    assert_says(checked_fence(&stack, Some(&user)).await, false, &taken);
    // A relay that holds the lease has the fence no more than before.
    let relay = start(&stack, &user);
    is_kept_away(
        &relay,
        "disconnected",
        &[&*fence, "held by another connection"],
    )
    .await;
    eventually("status tells it", async || {
        let status = stack.command(&["status", "--json"]).await.json();
        let problem = status["problem"].as_str().unwrap_or_default();
        problem.contains("its fence at the broker is held by somebody else")
    })
    .await;
    let taken = ["taken by somebody else than postroom-relay lane 0", &*fence];
    assert_says(checked_fence(&stack, Some(&user)).await, false, &taken);
    squatter.close(200, short("done")).await.unwrap();
    relay.ready().await;
    eventually("status and check know it", async || {
        let status = stack.command(&["status", "--json"]).await.json();
        status["problem"].is_null() && checked_fence(&stack, Some(&user)).await.0
    })
    .await;
}

#[tokio::test]
async fn g7_a_queue_by_the_fences_name_that_no_relay_made_is_told() {
    let (stack, pattern, fence) = prepared().await;
    let user = documented::relay(&stack, &pattern);
    let lasting = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let fleeting = QueueDeclareOptions::default();
    for options in [lasting, fleeting] {
        let (_connection, channel) = squat(&stack, &fence, options).await;
        let told = [
            &*fence,
            "is not exclusive",
            "rabbitmqctl delete_queue",
            &*pattern,
        ];
        assert_says(checked_fence(&stack, Some(&user)).await, false, &told);
        let relay = start(&stack, &user);
        is_kept_away(&relay, "refused", &told).await;
        let deleted = channel.queue_delete(short(&fence), QueueDeleteOptions::default());
        deleted.await.unwrap();
        relay.ready().await;
        assert!(relay.stop().await.success());
    }
}

#[tokio::test]
async fn a_relay_that_may_not_take_its_fence_tells_what_to_grant() {
    let (stack, pattern, fence) = prepared().await;
    let user = documented::relay(&stack, &pattern);
    let others = format!("{}0$", pattern.trim_end_matches('$'));
    user.grant(&others, "^postroom$", "^$");
    let told = [
        "ACCESS_REFUSED",
        &*fence,
        "grant the user configure",
        &*pattern,
    ];
    assert_says(checked_fence(&stack, Some(&user)).await, false, &told);
    let relay = start(&stack, &user);
    is_kept_away(&relay, "refused", &told).await;
    for part in told {
        assert!(relay.logged().contains(part), "{}", relay.logged());
    }
    user.grant(&pattern, "^postroom$", "^$");
    relay.ready().await;
    // The right may be lost later as well. A channel remembers for a minute that it was granted.
    user.grant(&others, "^postroom$", "^$");
    eventually("the broker lists the relay", async || {
        !stack.broker.connections().is_empty()
    })
    .await;
    stack.broker.close_connections();
    is_kept_away(&relay, "refused", &told).await;
    assert_says(checked_fence(&stack, Some(&user)).await, false, &told);
    user.grant(&pattern, "^postroom$", "^$");
    relay.ready().await;
}

/// Otherwise the missing right would be found only at the take-over, when no other relay publishes.
#[tokio::test]
async fn g7_a_standby_that_may_not_take_the_fence_is_not_ready() {
    let (stack, pattern, fence) = prepared().await;
    let user = documented::relay(&stack, &pattern);
    let active = start(&stack, &user);
    active.ready().await;
    let other = documented::relay(&stack, "^none$");
    let refused = start(&stack, &other);
    let told = [
        "ACCESS_REFUSED",
        &*fence,
        "grant the user configure",
        &*pattern,
    ];
    is_kept_away(&refused, "refused", &told).await;
    refused.role("standby").await;
    let said = refused.logged();
    assert!(said.contains("this standby could not take over"), "{said}");
    // Asking changes nothing for those who may.
    let standby = start(&stack, &user);
    standby.role("standby").await;
    standby.ready().await;
    active.ready().await;
    let lost = active.metric("postroom_relay_broker_losses_total");
    assert!(lost.abs() < f64::EPSILON, "{}", active.logged());
}
