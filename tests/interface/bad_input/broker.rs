//! A broker that refuses.

use lapin::{
    ExchangeKind,
    options::ExchangeDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use postroom_testkit::{Login, Stack, Tap, eventually, short};
use serde_json::json;
use sqlx::Executor as _;

use crate::{assert_says, refused};

async fn declare(stack: &Stack, kind: ExchangeKind, arguments: FieldTable) {
    let (_connection, channel) = stack.broker.channel().await;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(short("postroom"), kind, durable, arguments)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_showing_it() {
    let stack = Stack::new().await;
    let mut url: url::Url = stack.broker.url().parse().unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let error = refused(&stack, &[("POSTROOM_AMQP_URL", url.as_str())]).await;
    assert_says(
        &error,
        &[
            ":***@",
            "refuses the connection",
            "check user, password, virtual host",
        ],
    );
}

#[tokio::test]
async fn an_url_that_cannot_be_read_shows_no_password() {
    let stack = Stack::new().await;
    for url in ["relay:hunter2@host", "http://relay:hunter2@host"] {
        let error = refused(&stack, &[("POSTROOM_AMQP_URL", url)]).await;
        assert_says(
            &error,
            &[
                "the broker's URL",
                "is not understood: it does not begin with amqp://",
            ],
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_virtual_host_is_named() {
    let stack = Stack::new().await;
    let mut url: url::Url = stack.broker.url().parse().unwrap();
    url.set_path("nowhere");
    let error = refused(&stack, &[("POSTROOM_AMQP_URL", url.as_str())]).await;
    assert_says(
        &error,
        &["/nowhere", "refuses the connection", "virtual host"],
    );
}

#[tokio::test]
async fn an_exchange_of_another_type_is_refused_and_left_as_it_is() {
    let stack = Stack::new().await;
    declare(&stack, ExchangeKind::Fanout, FieldTable::default()).await;
    let error = refused(&stack, &[]).await;
    let way_out = "use another amqp.exchange, remove the old one, or set amqp.declare_exchange";
    assert_says(&error, &["exchange \"postroom\"", "fanout", way_out]);
    declare(&stack, ExchangeKind::Fanout, FieldTable::default()).await;
}

#[tokio::test]
async fn g3_an_alternate_exchange_which_would_swallow_returns_is_refused() {
    let stack = Stack::new().await;
    let mut arguments = FieldTable::default();
    let elsewhere = AMQPValue::LongString("elsewhere".into());
    arguments.insert(short("alternate-exchange"), elsewhere);
    declare(&stack, ExchangeKind::Topic, arguments).await;
    let error = refused(&stack, &[]).await;
    assert_says(
        &error,
        &[
            "exchange \"postroom\"",
            "no alternate exchange",
            "alternate-exchange",
        ],
    );
}

/// Only a configuration that has never worked can be wrong.
#[tokio::test]
async fn a_connection_limit_is_waited_out() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    let limit = format!("vhost-limits/{}/max-connections", stack.broker.name);
    let none = json!({ "value": 0 });
    stack.broker.request("PUT", &limit, Some(&none));
    let mut admin = stack.database.connect(Login::Admin).await;
    let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'postroom_test_relay'";
    admin.execute(sessions).await.unwrap();
    eventually("the new session meets the limit", async || {
        let health = relay.health();
        health.is_some_and(|(ready, health)| {
            !ready
                && health["problem"]
                    .as_str()
                    .is_some_and(|p| p.contains("limit"))
        })
    })
    .await;
    stack.broker.request("DELETE", &limit, None);
    relay.ready().await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    tap.distinct(1).await;
}

/// Otherwise the refusal would be found only at the take-over, when no other relay publishes.
#[tokio::test]
async fn g7_a_standby_that_the_broker_refuses_is_not_ready() {
    let stack = Stack::new().await;
    let _active = stack.relay().await;
    let mut url: url::Url = stack.broker.url().parse().unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let refused = stack.start_relay(&[("POSTROOM_AMQP_URL", url.as_str())]);
    eventually("the standby says so", async || {
        let health = refused.health();
        health.is_some_and(|(ready, health)| {
            !ready && health["role"] == "standby" && health["broker"] == "refused"
        })
    })
    .await;
    let says = ["this standby could not take over", "check user, password"];
    assert_says(&refused.logged(), &says);
    let standby = stack.start_relay(&[]);
    standby.role("standby").await;
    standby.ready().await;
}
