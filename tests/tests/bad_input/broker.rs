//! A broker that refuses.

use lapin::{
    ExchangeKind,
    options::ExchangeDeclareOptions,
    types::{AMQPValue, FieldTable},
};
use support::{Stack, short};

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
