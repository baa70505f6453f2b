//! The exclusive queue that keeps a second relay away from the broker.

use lapin::{options::QueueDeclareOptions, types::FieldTable};
use postroom_testkit::{Login, RabbitNode, Stack, Tap, VirtualHost, eventually, short};
use serde_json::json;
use sqlx::Executor as _;

/// Returns the broker's answer to another client that declares the relay's fence.
async fn fence(stack: &Stack) -> String {
    let mut owner = stack.database.connect(Login::Owner).await;
    let name = "SELECT format('postroom.fence.%s.%s.0', to_hex(c.system_identifier), d.oid)
                FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()";
    sqlx::query_scalar(name)
        .fetch_one(&mut owner)
        .await
        .unwrap()
}

async fn fence_is_there(stack: &Stack) -> bool {
    let name = fence(stack).await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let (_connection, channel) = stack.broker.channel().await;
    let declared = channel.queue_declare(short(&name), passive, FieldTable::default());
    let refused = declared.await.unwrap_err().to_string();
    let there = refused.contains("RESOURCE");
    assert!(there || refused.contains("NOT"), "{refused}");
    there
}

/// A fence that is gone keeps no copy of the database away.
#[tokio::test]
async fn g7_a_fence_that_a_policy_let_expire_is_there_again() {
    let stack = Stack::new().await;
    let relay = stack.relay_with(&[("POSTROOM_LEASE_TIMEOUT", "2s")]).await;
    assert!(fence_is_there(&stack).await);
    let policy = format!("policies/{}/expire", stack.broker.name);
    let expires = json!({ "pattern": ".*", "definition": { "expires": 1 }, "apply-to": "queues" });
    stack.broker.request("PUT", &policy, Some(&expires));
    eventually("it has expired", async || !fence_is_there(&stack).await).await;
    stack.broker.request("DELETE", &policy, None);
    eventually("it is there again", async || fence_is_there(&stack).await).await;
    relay.ready().await;
}

/// Lets the broker believe that a queue's process is another one: `new` is made of the old one.
fn replace_process(node: &RabbitNode, vhost: &str, queue: &str, new: &str) {
    let update = format!(
        "N = rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>), \
         F = fun(Q) -> Old = amqqueue:get_pid(Q), amqqueue:set_pid(Q, {new}) end, \
         code:ensure_loaded(rabbit_db_queue), \
         case erlang:function_exported(rabbit_db_queue, update, 2) of \
         true -> rabbit_db_queue:update(N, F); \
         false -> rabbit_misc:execute_mnesia_transaction(fun() -> rabbit_amqqueue:update(N, F) end) \
         end."
    );
    node.control(&["eval", &update]);
}

/// Since RabbitMQ 4.2 the exclusive queues of a node stay while it is down, and refuse everybody.
#[tokio::test]
async fn g7_a_fence_that_a_lost_node_left_over_keeps_nobody_away_until_the_node_is_back() {
    let node = RabbitNode::start();
    let mut stack = Stack::new().await;
    stack.broker = VirtualHost::new_on(&node.url(), &node.admin_url());
    let (other, channel) = stack.broker.channel().await;
    let name = fence(&stack).await;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(short(&name), exclusive, FieldTable::default());
    declared.await.unwrap();
    let lost = "begin application:set_env(rabbit, postroom_old, Old), spawn(fun() -> ok end) end";
    replace_process(&node, &stack.broker.name, &name, lost);

    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack
        .relay_with(&[("POSTROOM_LOG_FILTER", "info,relay=debug")])
        .await;
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute("SELECT outbox.publish('t', '1')")
        .await
        .unwrap();
    tap.distinct(1).await;
    assert!(relay.logged().contains("left over by a node that is down"));
    let checked = stack.command(&["check"]).await;
    let told = checked.succeeded();
    assert!(told.contains("was left over by a node"), "{told}");

    // The broker gives the relay's question up after a minute, which is no error of the connection.
    eventually("it is asked again", async || {
        relay
            .logged()
            .contains("trying to take the left-over fence")
    })
    .await;
    producer
        .execute("SELECT outbox.publish('t', '2')")
        .await
        .unwrap();
    tap.distinct(2).await;
    let lost = relay.metric("postroom_relay_broker_losses_total");
    assert!(lost.abs() < f64::EPSILON, "{}", relay.logged());

    // The queue exists after all, and so does its owner.
    let back = "begin Old = Old, element(2, application:get_env(rabbit, postroom_old)) end";
    replace_process(&node, &stack.broker.name, &name, back);
    eventually("the relay gives way to the owner", async || {
        let health = relay.health();
        health.is_some_and(|(ready, health)| {
            let problem = health["problem"].as_str();
            !ready && problem.is_some_and(|problem| problem.contains("held by another connection"))
        })
    })
    .await;
    other.close(200, short("done")).await.unwrap();
    relay.ready().await;
    assert!(fence_is_there(&stack).await);
    producer
        .execute("SELECT outbox.publish('t', '3')")
        .await
        .unwrap();
    tap.distinct(3).await;
}
