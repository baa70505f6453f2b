//! A connection's fence, and what happens to it while messages are in flight.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    time::Duration,
};

use postroom_testkit::{DEADLINE, eventually};
use relay::transport::{
    BrokerError, Channel as _, Connection as _, Event, Outcome, Transport as _,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{FENCE, World, ids, message, open, publish};

pub(crate) async fn g7_a_fence_has_one_holder<W: World>() {
    let world = W::new().await;
    let first = open(&world, FENCE).await.unwrap();
    let refused = open(&world, FENCE).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Fenced { .. }), "{refused}");
    world
        .transport()
        .check(FENCE)
        .await
        .expect("a standby may ask");
    let other = open(&world, "postroom.fence.other").await.unwrap();
    first.connection.close().await;
    let next = open(&world, FENCE).await.unwrap();
    next.connection.close().await;
    other.connection.close().await;
}

/// Cancels an opening before each of its steps.
pub(crate) async fn g7_a_cancelled_opening_leaves_no_fence<W: World>() {
    let world = W::new().await;
    for step in 0.. {
        let stop = CancellationToken::new();
        let mut opening = pin!(world.transport().open(FENCE, &stop));
        let mut steps = 0..step;
        let opened = poll_fn(|context| {
            if steps.next().is_none() {
                stop.cancel();
            }
            opening.as_mut().poll(context)
        });
        if let Some(opened) = opened.await {
            opened.unwrap().connection.close().await;
        }
        if !stop.is_cancelled() {
            assert!(step > 0, "cancelled before it began");
            return;
        }
    }
}

pub(crate) async fn g3_a_cut_leaves_every_outcome_unknown<W: World>() {
    let world = W::new().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    world.mute(true).await;
    let messages = ["a", "b"].map(message);
    let [first, second] = &messages;
    let in_flight = [first, second];
    let (published, ()) = tokio::join!(opened.channels[0].publish(&in_flight), async {
        let mut taken = Vec::new();
        eventually("both are in the queue", async || {
            taken.extend(world.take("q").await);
            taken == ids(&messages)
        })
        .await;
        world.cut().await;
    });
    let loss = published.expect_err("a loss");
    assert_eq!(loss.blame, None, "{}", loss.error);
    let event = timeout(DEADLINE, opened.connection.event()).await;
    assert!(matches!(event, Ok(Event::Lost(_))), "{event:?}");
    opened.connection.close().await;
    world.mute(false).await;
    let mut again = None;
    eventually("the fence is free again", async || {
        again = open(&world, FENCE).await.ok();
        again.is_some()
    })
    .await;
    let mut again = again.unwrap();
    let outcomes = publish::<W>(&mut again.channels[0], &messages).await;
    assert_eq!(outcomes, vec![Outcome::Confirmed; 2]);
    again.connection.close().await;
}

pub(crate) async fn g3_a_renewed_channel_gives_no_answers_to_earlier_messages<W: World>() {
    let world = W::new().await;
    world.bind("q", "bound", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    let channel = &mut opened.channels[0];
    world.mute(true).await;
    let given_up = ["unbound", "bound"].map(message);
    let [first, second] = &given_up;
    let in_flight = [first, second];
    let waiting = timeout(Duration::from_millis(200), channel.publish(&in_flight));
    assert!(waiting.await.is_err(), "answers are held back");
    world.mute(false).await;
    channel.renew().await.unwrap();
    let outcomes = publish::<W>(channel, &["bound", "unbound", "bound"].map(message)).await;
    let expected = [Outcome::Confirmed, Outcome::Unroutable, Outcome::Confirmed];
    assert_eq!(outcomes, expected);
    opened.connection.close().await;
}

pub(crate) async fn a_blocked_broker_says_so_and_takes_the_messages_later<W: World>() {
    let world = W::alone().await;
    world.bind("q", "#", 100).await;
    let mut opened = open(&world, FENCE).await.unwrap();
    assert_eq!(opened.blocked, None);
    world.block(true).await;
    let message = message("a");
    let batch = [&message];
    let mut publishing = Box::pin(opened.channels[0].publish(&batch));
    let blocked = async {
        tokio::select! {
            event = opened.connection.event() => event,
            published = &mut publishing => panic!("published: {published:?}"),
        }
    };
    let event = timeout(DEADLINE, blocked).await.expect("in time");
    assert!(matches!(event, Event::Blocked(_)), "{event:?}");
    world.block(false).await;
    let event = timeout(DEADLINE, opened.connection.event()).await;
    assert!(matches!(event, Ok(Event::Unblocked)), "{event:?}");
    let published = timeout(DEADLINE, publishing).await.expect("in time");
    assert_eq!(published.unwrap(), [Outcome::Confirmed]);
    opened.connection.close().await;
}
