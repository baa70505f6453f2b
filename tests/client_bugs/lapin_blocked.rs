//! lapin 4.12 while the broker blocks publishers: a publish does not return, a publish that was given
//! up is sent all the same, and every event goes to one listener only.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::{
    BasicProperties, Channel, Event,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use postroom_testkit::{RabbitNode, VirtualHost, eventually, short};
use tokio::time::timeout;

/// No deadline of ours is shorter.
const PATIENCE: Duration = Duration::from_secs(2);

async fn publish(channel: &Channel, body: &[u8]) -> lapin::Result<()> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let issued = channel.basic_publish(short(""), short("q"), options, body, properties);
    issued.await?.await?;
    Ok(())
}

async fn bodies(channel: &Channel) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    loop {
        let got = channel.basic_get(short("q"), BasicGetOptions { no_ack: true });
        match got.await.unwrap() {
            Some(message) => bodies.push(message.delivery.data),
            None => return bodies,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_blocked_does_not_return_and_is_sent_although_it_was_given_up() {
    let node = RabbitNode::start();
    let broker = VirtualHost::new_on(&node.url(), &node.admin_url());
    let (connection, channel) = broker.channel().await;
    let queue = QueueDeclareOptions::default();
    let declared = channel.queue_declare(short("q"), queue, FieldTable::default());
    declared.await.unwrap();
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    let mut listeners = [
        Box::pin(connection.events_listener()),
        Box::pin(connection.events_listener()),
    ];

    // A petabyte: no disk has that much free.
    node.control(&["set_disk_free_limit", "1000000000000000"]);
    // The broker blocks a connection once that publishes.
    publish(&channel, b"first").now_or_never();
    eventually("the broker has blocked the connection", async || {
        connection.status().blocked()
    })
    .await;
    let given_up = timeout(PATIENCE, publish(&channel, b"given up")).await;
    assert!(
        given_up.is_err(),
        "lapin returns from a blocked publish now: awaits of it may need no deadline"
    );
    let mut blocked = 0;
    for listener in &mut listeners {
        while let Some(Some(event)) = listener.next().now_or_never() {
            blocked += usize::from(matches!(event, Event::ConnectionBlocked(_)));
        }
    }
    assert_eq!(blocked, 1, "lapin tells each listener of each event now");

    node.control(&["set_disk_free_limit", "10MB"]);
    timeout(postroom_testkit::DEADLINE, publish(&channel, b"last"))
        .await
        .expect("publishing goes on")
        .unwrap();
    let arrived = bodies(&channel).await;
    let expected: [&[u8]; 3] = [b"first", b"given up", b"last"];
    assert_eq!(
        arrived, expected,
        "if lapin withdraws what is given up, a timed-out channel need not be dropped"
    );
}
