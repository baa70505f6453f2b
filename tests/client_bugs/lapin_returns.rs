//! lapin 4.12 hands a returned message to whichever confirm completes next: what a single confirm
//! says of its own message may be another's fate.

use std::collections::HashSet;

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use postroom_testkit::{VirtualHost, declare, eventually, short};

const MESSAGES: usize = 2_000;

fn topic(number: usize) -> &'static str {
    ["bound", "unbound"][number % 2]
}

/// Publishes pipelined messages of which every second has no queue, and returns for how many the
/// confirm told the fate of another, with the ids of all that came back.
async fn misattributed(channel: &Channel) -> (usize, HashSet<String>) {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let issued = join_all((0..MESSAGES).map(|number| {
        let id = short(&number.to_string());
        let properties = BasicProperties::default().with_message_id(id);
        channel.basic_publish(
            short("postroom"),
            short(topic(number)),
            options,
            b"body",
            properties,
        )
    }))
    .await;
    let confirms = join_all(issued.into_iter().map(Result::unwrap)).await;
    let returned: Vec<Option<String>> = confirms
        .into_iter()
        .map(|confirm| match confirm.unwrap() {
            Confirmation::Ack(message) => message.map(|message| {
                let properties = message.delivery.properties;
                properties.message_id().as_ref().unwrap().to_string()
            }),
            other => panic!("{other:?}"),
        })
        .collect();
    let wrong = returned.iter().enumerate().filter(|(number, returned)| {
        let expected = (topic(*number) == "unbound").then(|| number.to_string());
        **returned != expected
    });
    let wrong = wrong.count();
    (wrong, returned.into_iter().flatten().collect())
}

#[tokio::test]
async fn lapins_confirms_tell_the_fate_of_other_messages() {
    let broker = VirtualHost::new();
    let (_connection, channel) = broker.channel().await;
    declare(&channel, "q", "bound", FieldTable::default()).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let unbound: HashSet<String> = (0..MESSAGES)
        .filter(|n| topic(*n) == "unbound")
        .map(|n| n.to_string())
        .collect();
    let mut wrong = 0;
    eventually(
        "a confirm tells of another message; if it never does, lapin is fixed",
        async || {
            let (count, returned) = misattributed(&channel).await;
            wrong += count;
            // `amqp::Batch` relies on this: flag and returned message together are right.
            assert_eq!(returned, unbound);
            wrong > 0
        },
    )
    .await;
}
