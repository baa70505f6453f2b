//! lapin 4.12 hands a returned message to whichever confirm completes next: what a single confirm
//! says of its own message may be another's fate.

use std::collections::HashSet;

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use outbox::{Message, Outbox};
use postroom_testkit::{Login, Stack, Tap, declare, eventually, short};

const MESSAGES: usize = 2_000;

/// Messages for the relay: with a few batches of them, luck could hide that confirms are mixed up.
const RELAYED: usize = 30_000;

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
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
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

#[tokio::test]
async fn g3_the_relay_parks_exactly_what_no_queue_took() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let messages = (0..RELAYED).map(|n| Message::bytes(topic(n), "text/plain", "").unwrap());
    let ids = Outbox::new().publish_all(&mut tx, messages).await.unwrap();
    tx.commit().await.unwrap();
    let (bound, unbound): (Vec<_>, Vec<_>) = ids.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
    // As pipelined as the relay can be.
    let _relay = stack
        .relay_with(&[
            ("POSTROOM_AMQP_BATCH", "5000"),
            ("POSTROOM_CAPTURE_PAGE_ROWS", "5000"),
            ("POSTROOM_PUBLISH_RETRY_FIRST", "1h"),
            ("POSTROOM_PUBLISH_RETRY_LONGEST", "1h"),
        ])
        .await;
    let owner = stack.database.pool(Login::Owner).await;
    eventually("all are delivered or parked", async || {
        stack.database.undelivered_and_parked(&owner).await == (0, unbound.len() as i64)
    })
    .await;
    let parked: HashSet<uuid::Uuid> = sqlx::query_scalar("SELECT message_id FROM outbox.parked")
        .fetch_all(&owner)
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(parked, unbound.iter().map(|id| id.as_uuid()).collect());
    tap.distinct(bound.len()).await;
    assert_eq!(tap.ids(), bound.iter().map(ToString::to_string).collect());
    assert_eq!(tap.seen().len(), bound.len(), "each once");
}
