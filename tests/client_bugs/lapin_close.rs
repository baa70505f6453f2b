//! lapin 4.12 closes a channel that is dropped. If its connection is closed at that moment, lapin takes the channel's
//! failed close for an error of the connection, and returns before the broker has closed it, or never.

use std::time::Duration;

use amqp::{Address, Arguments, Connection, Queue};
use postroom_testkit::{DEADLINE, VirtualHost, eventually, short};
use tokio::time::timeout;

/// Connections that are closed one after another, each as soon as a channel of it was dropped.
const CONNECTIONS: usize = 100;

/// Time after which a close counts as failed.
const LONGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn lapin_does_not_wait_for_the_broker_if_a_channel_was_just_dropped() {
    let broker = VirtualHost::new();
    let what = "closing a connection fails; if it never does, lapin is fixed";
    eventually(what, async || {
        let (connection, channel) = broker.channel().await;
        drop(channel);
        let closing = connection.close(200, short("bye"));
        !matches!(timeout(LONGEST, closing).await, Ok(Ok(())))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_closed_connection_has_given_up_its_fence() {
    let broker = VirtualHost::new();
    let address: Address = broker.url().parse().unwrap();
    let nothing = Arguments::new();
    let open = async || {
        let connection = Connection::open(&address, "test").await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        (connection, channel)
    };
    let (mut connection, mut channel) = open().await;
    for _ in 0..CONNECTIONS {
        let taken = channel.declare_queue("fence", Queue::Exclusive(&nothing));
        taken.await.expect("the connection before is closed");
        let next = open().await;
        let refused = connection.open_channel().await.unwrap();
        let missing = refused.declare_queue("missing", Queue::Existing);
        missing.await.unwrap_err();
        let confirming = connection.open_confirm_channel().await.unwrap();
        drop((refused, confirming, channel));
        connection.close(DEADLINE).await;
        (connection, channel) = next;
    }
}
