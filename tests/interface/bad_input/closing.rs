//! Messages over which the broker closes a channel, or the connection. They are found and parked, and all
//! others go on.

use postroom_testkit::{
    Login, RabbitNode, RelayProcess, Stack, Tap, VirtualHost, eventually, unique,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor as _};

/// Publishes one message of a key that cannot go, among others that can, and waits for all of them.
async fn stops_itself_alone(stack: &Stack, bad: &str, relay: &RelayProcess) {
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let mut publish = async |arguments: &str, times: u32| {
        let sql = format!("SELECT outbox.publish({arguments}) FROM generate_series(1, {times})");
        producer.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    publish("'orders.a', '1', key => 'a'", 10).await;
    publish(bad, 1).await;
    publish("'orders.b', '2', key => 'b'", 10).await;
    tap.distinct(20).await;
    // Alone now, on channels that were opened anew.
    publish(bad, 1).await;
    publish("'orders.c', '3', key => 'c'", 10).await;
    tap.distinct(30).await;
    let mut owner = stack.database.connect(Login::Owner).await;
    eventually("those that cannot go are parked", async || {
        let parked = "SELECT count(*) FROM outbox.parked WHERE reason IN ('rejected', 'behind')";
        let parked: i64 = sqlx::query_scalar(parked)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        parked == 2
    })
    .await;
    relay.ready().await;
}

#[tokio::test]
async fn a_message_that_the_broker_closes_a_channel_over_stops_itself_alone() {
    let node = RabbitNode::start();
    let mut stack = Stack::new().await;
    stack.broker = VirtualHost::new_on(&node.url(), &node.admin_url());
    node.control(&[
        "eval",
        "application:set_env(rabbit, max_message_size, 1000), \
         persistent_term:put(max_message_size, 1000).",
    ]);
    let relay = stack.relay().await;
    let large = "'orders.large', to_jsonb(repeat('x', 5000)), key => 'x'";
    stops_itself_alone(&stack, large, &relay).await;
    let lost = relay.metric("postroom_relay_broker_losses_total");
    assert!(lost < 1.0, "the connection needs not end over it");
}

#[tokio::test]
async fn a_message_that_the_broker_closes_the_connection_over_stops_itself_alone() {
    let stack = Stack::new().await;
    let url = format!("{}?frame_max=8192", stack.broker.url());
    let relay = stack.relay_with(&[("POSTROOM_AMQP_URL", &url)]).await;
    let headers =
        "'orders.x', '0', key => 'x', headers => jsonb_build_object('x', repeat('y', 50000))";
    stops_itself_alone(&stack, headers, &relay).await;
}

#[tokio::test]
async fn a_topic_that_the_user_may_not_write_stops_itself_alone() {
    let stack = Stack::new().await;
    let (broker, user) = (&stack.broker, unique("postroom_limited"));
    let put = |path: String, body| broker.request("PUT", &path, Some(&body));
    put(
        format!("users/{user}"),
        json!({"password": "postroom", "tags": ""}),
    );
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    put(format!("permissions/{}/{user}", broker.name), all);
    // Since RabbitMQ 4.3 it must be there.
    let exchange = json!({"type": "topic", "durable": true});
    put(format!("exchanges/{}/postroom", broker.name), exchange);
    let some = json!({"exchange": "postroom", "write": "^orders\\.", "read": ".*"});
    put(format!("topic-permissions/{}/{user}", broker.name), some);
    let mut url: url::Url = broker.url().parse().unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("postroom")).unwrap();
    let relay = stack
        .relay_with(&[("POSTROOM_AMQP_URL", url.as_str())])
        .await;
    stops_itself_alone(&stack, "'secret', '0', key => 'x'", &relay).await;
    let detail = "SELECT detail FROM outbox.parked WHERE reason = 'rejected'";
    let mut owner = stack.database.connect(Login::Owner).await;
    let detail: String = sqlx::query_scalar(detail)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert!(detail.contains("access to topic 'secret'"), "{detail}");
    relay.stop().await;
    stack
        .broker
        .request("DELETE", &format!("users/{user}"), None);
}
