//! A foreign user with the right to write, beside the relay and a consumer that trusts the relay alone.

use lapin::{
    BasicProperties, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use postroom_testkit::{Login, Stack, User, eventually};

use crate::{
    consumer::{self, Running, bound, handled},
    documented,
};

/// Publishes garbage, and an event of others, under an id, as a service of another source would.
#[expect(clippy::disallowed_methods, reason = "any client")]
async fn forge(user: &User, ids: &[String]) {
    let url = user.url();
    let connection = Connection::connect(&url, lapin::ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    for id in ids {
        for (user_id, body) in [
            (None, &b"garbage"[..]),
            (Some(user.name.as_str()), b"garbage"),
            (Some(user.name.as_str()), br#"{"n": 666}"#),
        ] {
            let mut properties = BasicProperties::default()
                .with_message_id(id.as_str().into())
                .with_app_id("postroom".into())
                .with_type("orders.placed".into());
            if let Some(user_id) = user_id {
                properties = properties.with_user_id(user_id.into());
            }
            let published = channel.basic_publish(
                "postroom".into(),
                "orders.placed".into(),
                BasicPublishOptions::default(),
                body,
                properties,
            );
            assert!(published.await.unwrap().await.unwrap().is_ack());
        }
    }
}

#[tokio::test]
async fn g5_messages_of_the_relay_are_handled_once_whatever_another_publisher_sends_before() {
    let stack = Stack::new().await;
    consumer::prepare(&stack.database).await;
    let pattern = documented::declare_exchange_and_find_fence(&stack).await;
    let of_relay = documented::relay(&stack, &pattern);
    let of_billing = documented::consumer(&stack, "billing");
    let settings = documented::settings(&of_relay);
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let trusted = of_relay.name.as_str();
    let billing = Running::start_with(&stack, "billing", &of_billing, |builder| {
        builder.trusted_publishers([trusted])
    });
    bound(&stack, "billing").await;
    // A service of the same topics, whose ids are no secret.
    let forger = User::new(&stack.broker);
    forger.grant("^$", "^postroom$", "^$");
    let publish = "SELECT outbox.publish('orders.placed', jsonb_build_object('n', n))::text
                   FROM generate_series(0, 9) AS n";
    let ids: Vec<String> = sqlx::query_scalar(publish)
        .fetch_all(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    forge(&forger, &ids).await;
    let relay = stack.relay_with(&settings).await;
    handled(&stack, "billing", 0..10).await;
    let owner = stack.database.pool(Login::Owner).await;
    eventually("the forged ones are kept apart", async || {
        let kept: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM inbox.parked
             WHERE reason = 'untrusted' AND state = 'dead' AND NOT holds_key",
        )
        .fetch_one(&owner)
        .await
        .unwrap();
        kept == 30
    })
    .await;
    relay.ready().await;
    billing.stop().await;
}
