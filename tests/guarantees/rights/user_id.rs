//! The user that the relay's messages name as their publisher.

use lapin::{options::BasicGetOptions, types::FieldTable};
use postroom_testkit::{Login, Stack, User, declare, eventually, short};
use sqlx::AssertSqlSafe;

use crate::documented;

async fn publish(stack: &Stack, n: u32) {
    let sql = format!("SELECT outbox.publish('orders.placed', '{n}', key => 'k')");
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut producer)
        .await
        .unwrap();
}

/// Takes the next message of the queue `all`; returns its body and the user that it names.
async fn take(stack: &Stack) -> (Vec<u8>, Option<String>) {
    let (_connection, channel) = stack.broker.channel().await;
    let mut taken = None;
    eventually("a message arrives", async || {
        let options = BasicGetOptions { no_ack: true };
        taken = channel.basic_get(short("all"), options).await.unwrap();
        taken.is_some()
    })
    .await;
    let delivery = taken.unwrap().delivery;
    let user_id = delivery.properties.user_id().as_ref();
    (delivery.data, user_id.map(ToString::to_string))
}

async fn with_queue() -> Stack {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "all", "#", FieldTable::default()).await;
    stack
}

fn relay_user(stack: &Stack) -> User {
    let user = User::new(&stack.broker);
    user.grant(".*", ".*", ".*");
    user
}

#[tokio::test]
async fn messages_name_the_user_of_the_url_another_name_of_it_or_none() {
    let stack = with_queue().await;
    let user = relay_user(&stack);
    let url = user.url();
    for (n, setting, expected) in [
        (1, "true", Some(user.name.as_str())),
        (2, user.name.as_str(), Some(user.name.as_str())),
        (3, "false", None),
    ] {
        let settings = [
            ("POSTROOM_AMQP_URL", &*url),
            ("POSTROOM_AMQP_USER_ID", setting),
        ];
        let checked = stack.command_with(&["check"], &settings).await;
        checked.succeeded();
        let relay = stack.relay_with(&settings).await;
        publish(&stack, n).await;
        let expected = (n.to_string().into_bytes(), expected.map(str::to_owned));
        assert_eq!(take(&stack).await, expected, "{setting}");
        stack.delivered().await;
        assert!(relay.stop().await.success());
    }
}

/// As where the broker's name of the user is not the URL's.
#[tokio::test]
async fn g3_a_user_of_another_name_is_found_before_any_message_is_sent() {
    let stack = with_queue().await;
    let user = relay_user(&stack);
    let url = user.url();
    let settings = [
        ("POSTROOM_AMQP_URL", &*url),
        ("POSTROOM_AMQP_USER_ID", "somebody"),
    ];
    publish(&stack, 1).await;
    let checked = stack.command_with(&["check"], &settings).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let named = format!("'somebody' but authenticated user was '{}'", user.name);
    for part in ["publishing", &*named, "set amqp.user_id"] {
        assert!(checked.stdout.contains(part), "{part}: {checked:?}");
    }
    let ended = stack.command_with(&["run"], &settings).await;
    let said = ended.error();
    assert!(
        said.contains(&named) && said.contains("set amqp.user_id"),
        "{said}"
    );
    let owner = stack.database.pool(Login::Owner).await;
    let status = stack.database.undelivered_and_parked(&owner).await;
    assert_eq!(status, (1, 0), "it waits in the outbox");

    let relay = stack.relay_with(&settings[..1]).await;
    assert_eq!(take(&stack).await.0, b"1");
    assert!(relay.stop().await.success());
}

/// With the documented rights the trial's topic is refused, so only the first message shows it.
#[tokio::test]
async fn g3_a_user_of_another_name_rejects_no_message_where_topics_are_granted() {
    let stack = with_queue().await;
    let pattern = documented::declare_exchange_and_find_fence(&stack).await;
    let user = documented::relay(&stack, &pattern);
    let right = documented::settings(&user);
    let right = right
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let wrong = [right[0], right[1], ("POSTROOM_AMQP_USER_ID", "somebody")];
    for n in 1..=20 {
        publish(&stack, n).await;
    }
    let relay = stack.start_relay(&wrong);
    eventually("the relay says what is wrong", async || {
        let health = relay.health();
        health.is_some_and(|(ready, health)| {
            !ready && health.to_string().contains("set amqp.user_id")
        })
    })
    .await;
    relay.kill().await;
    let rejected = "SELECT count(*) FROM outbox.parked WHERE reason = 'rejected'";
    let rejected: i64 = sqlx::query_scalar(rejected)
        .fetch_one(&mut stack.database.connect(Login::Owner).await)
        .await
        .unwrap();
    assert_eq!(rejected, 0);

    let relay = stack.relay_with(&right).await;
    for n in 1..=20_u32 {
        let expected = (n.to_string().into_bytes(), Some(user.name.clone()));
        assert_eq!(take(&stack).await, expected);
    }
    stack.delivered().await;
    assert!(relay.stop().await.success());
}
