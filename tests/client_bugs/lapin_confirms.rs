//! lapin 4.12: a confirm that is dropped is kept until somebody calls `wait_for_confirms`, whether or
//! not it came in the meantime. A publisher that never calls it must await every confirm, or it grows.

use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use postroom_testkit::{VirtualHost, short};

const MESSAGES: usize = 500;

async fn publish(channel: &Channel) -> impl Future<Output = lapin::Result<Confirmation>> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    // The default exchange returns what names no queue.
    let (exchange, topic) = (short(""), short("nobody"));
    let properties = BasicProperties::default();
    let issued = channel.basic_publish(exchange, topic, options, b"body", properties);
    issued.await.unwrap()
}

#[tokio::test]
async fn dropped_confirms_are_kept_and_awaited_ones_are_not() {
    let broker = VirtualHost::new();
    for awaited in [true, false] {
        let (_connection, channel) = broker.channel().await;
        let confirms = ConfirmSelectOptions::default();
        channel.confirm_select(confirms).await.unwrap();
        for _ in 0..MESSAGES {
            let confirm = publish(&channel).await;
            if awaited {
                confirm.await.unwrap();
            }
        }
        // Confirms come in order: after this one all have come.
        let last = publish(&channel).await.await.unwrap();
        assert!(matches!(last, Confirmation::Ack(_)));
        #[allow(clippy::disallowed_methods)] // The call under test.
        let kept = channel.wait_for_confirms().await.unwrap();
        let expected = if awaited { 0 } else { MESSAGES };
        assert_eq!(
            kept.len(),
            expected,
            "with confirms awaited: {awaited}; if lapin keeps none, dropping them is harmless"
        );
    }
}
