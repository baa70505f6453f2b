//! Each message of a batch has its outcome.

use postroom_testkit::DEADLINE;
use relay::transport::{Channel as _, Connection as _, Message, Outcome};
use tokio::time::timeout;

use super::{FENCE, World, ids, message, open, publish};

pub(crate) async fn g3_a_message_that_a_queue_takes_is_confirmed<W: World>() {
    let world = W::new().await;
    world.bind("q", "orders.#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let messages = ["orders", "orders.a", "orders.a.b"].map(message);
    let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
    assert_eq!(outcomes, vec![Outcome::Confirmed; 3]);
    assert_eq!(world.take("q").await, ids(&messages));
    opened.connection.close().await;
}

pub(crate) async fn g3_a_message_that_no_queue_takes_is_unroutable<W: World>() {
    let world = W::new().await;
    world.bind("q", "orders.*", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let messages = ["invoices", "orders.a.b"].map(message);
    let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
    assert_eq!(outcomes, vec![Outcome::Unroutable; 2]);
    opened.connection.close().await;
}

pub(crate) async fn g3_returns_are_matched_to_their_messages<W: World>() {
    let world = W::new().await;
    world.bind("q", "bound", 10_000).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    for _ in 0..5 {
        let topics = (0..500).map(|n| ["bound", "unbound", "bound"][n % 3]);
        let messages: Vec<Message> = topics.map(message).collect();
        let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
        assert_eq!(outcomes.len(), messages.len());
        for (message, outcome) in messages.iter().zip(outcomes) {
            let is_bound = outcome == Outcome::Confirmed;
            assert_eq!(is_bound, &*message.topic == "bound", "{outcome:?}");
        }
    }
    opened.connection.close().await;
}

pub(crate) async fn g3_a_full_queue_refuses_and_others_take<W: World>() {
    let world = W::new().await;
    world.bind("small", "a", 1).await;
    world.bind("large", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let channel = &mut opened.channels[0];
    let first = publish::<W>(channel, &[message("a")]).await;
    assert_eq!(first, [Outcome::Confirmed]);
    let outcomes = publish::<W>(channel, &["b", "a", "b"].map(message)).await;
    let expected = [Outcome::Confirmed, Outcome::Nacked, Outcome::Confirmed];
    assert_eq!(outcomes, expected);
    assert_eq!(world.take("large").await.len(), 4);
    assert_eq!(world.take("small").await.len(), 1);
    opened.connection.close().await;
}

pub(crate) async fn a_message_that_cannot_be_carried_is_rejected_alone<W: World>() {
    let world = W::new().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let messages = ["a".to_owned(), "x".repeat(256), "b".to_owned()];
    let messages = messages.map(|topic| message(&topic));
    let outcomes = publish::<W>(&mut opened.channels[0], &messages).await;
    assert_eq!(outcomes[0], Outcome::Confirmed);
    assert!(matches!(outcomes[1], Outcome::Rejected(_)), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::Confirmed);
    opened.connection.close().await;
}

pub(crate) async fn a_message_over_which_the_broker_closes_is_blamed<W: World>() {
    let world = W::new().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let (small, mut large) = (message("small"), message("large"));
    large.headers.set("large", "x".repeat(50_000));
    let batch = [&small, &large];
    let published = timeout(DEADLINE, opened.channels[0].publish(&batch)).await;
    let published = published.expect("in time");
    let loss = published.expect_err("a loss");
    assert!(loss.blame.is_some(), "{loss:?}");
    opened.connection.close().await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let outcomes = publish::<W>(&mut opened.channels[0], &[message("small")]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
    opened.connection.close().await;
}

pub(crate) async fn an_empty_batch_has_no_outcomes<W: World>() {
    let world = W::new().await;
    let mut opened = open(&world, FENCE).await.unwrap();
    assert_eq!(publish::<W>(&mut opened.channels[0], &[]).await, []);
    opened.connection.close().await;
}
