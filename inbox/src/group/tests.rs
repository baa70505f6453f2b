//! Who gathers.

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use outbox::wire::Incoming;
use tokio::time::sleep;
use uuid::Uuid;

use super::{BatchSlot, Group, LINGER};
use crate::{Delivery, Outcome, TransactionError};

/// What becomes of a delivery that comes to its place.
fn take(slot: &BatchSlot, id: Uuid) -> BoxFuture<'static, Result<Outcome, TransactionError>> {
    let mut message = Incoming::default();
    message.message_id = Some(id.to_string());
    let delivery = Delivery::new(message, Vec::new());
    let taking = slot
        .handle()
        .take(delivery, Box::new(|_| async { Ok(()) }.boxed()));
    taking.boxed()
}

/// Which of two deliveries gather, if they come after so long.
async fn gathered(first: Duration, second: Duration) -> Vec<bool> {
    let (mut group, slots) = Group::new(vec![None, None]);
    let [one, two] = <[BatchSlot; 2]>::try_from(slots).unwrap();
    let come = |after, slot: BatchSlot| async move {
        sleep(after).await;
        let _ = take(&slot, Uuid::now_v7()).await;
    };
    let deliveries = [
        tokio::spawn(come(first, one)),
        tokio::spawn(come(second, two)),
    ];
    let here = group.gather().await;
    for delivery in deliveries {
        delivery.abort();
    }
    here.iter().map(Option::is_some).collect()
}

#[tokio::test]
async fn the_first_to_come_is_waited_for_and_then_the_others_for_a_moment() {
    let long = LINGER * 10;
    assert_eq!(gathered(long, long).await, [true, true]);
    assert_eq!(gathered(Duration::ZERO, Duration::MAX).await, [true, false]);
}

/// A layer that answers itself may keep what it was given.
#[tokio::test]
async fn those_that_will_not_come_are_not_waited_for() {
    let (mut group, slots) = Group::new(vec![None, None]);
    let kept: Vec<_> = slots.iter().map(BatchSlot::handle).collect();
    drop(slots);
    let here = group.gather().await;
    assert!(here.iter().all(Option::is_none));
    drop(kept);
}

/// Its id is in another table.
#[tokio::test]
async fn one_that_cannot_share_does_not_end_the_wait_for_the_first() {
    let (mut group, slots) = Group::new(vec![None, None]);
    let alone = tokio::spawn(take(&slots[0], Uuid::nil()));
    let shares = take(&slots[1], Uuid::now_v7());
    let shares = tokio::spawn(async move {
        sleep(LINGER * 10).await;
        shares.await
    });
    let here = group.gather().await;
    assert!(here[0].is_none() && here[1].is_some());
    assert!(matches!(
        alone.await.unwrap(),
        Err(TransactionError::Shared)
    ));
    drop(here);
    assert!(matches!(
        shares.await.unwrap(),
        Err(TransactionError::Shared)
    ));
}
