//! A close of our connections waits for the broker, although one of lapin's may not (`client_bugs/lapin_close.rs`).

use amqp::{Address, Arguments, Connection, Queue};
use postroom_testkit::{DEADLINE, VirtualHost};

/// Connections that are closed one after another, each as soon as a channel of it was dropped.
const CONNECTIONS: usize = 100;

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
