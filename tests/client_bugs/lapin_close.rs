//! lapin 4.12 closes a channel that is dropped. If its connection is closed at that moment, lapin takes the channel's
//! failed close for an error of the connection, and returns before the broker has closed it, or never.

use std::time::Duration;

use postroom_testkit::{VirtualHost, eventually, short};
use tokio::time::timeout;

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
