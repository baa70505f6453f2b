//! Tests of which deliveries a group waits for.

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use postroom_message::Incoming;
use tokio::time::sleep;
use uuid::Uuid;

use super::{BatchSlot, GATHER_TIMEOUT, Group};
use crate::{Delivery, Outcome, TransactionError};

/// Joins the group with a delivery; returns its result.
fn join(slot: &BatchSlot, id: Uuid) -> BoxFuture<'static, Result<Outcome, TransactionError>> {
    let mut message = Incoming::default();
    message.message_id = Some(id.to_string());
    let delivery = Delivery::new(message, Vec::new());
    let joining = slot
        .handle()
        .join(delivery, Box::new(|_| async { Ok(()) }.boxed()));
    joining.boxed()
}

/// Returns for each of two deliveries `true` if it joins, when they try after these times.
async fn joined(first: Duration, second: Duration) -> Vec<bool> {
    let (mut group, slots) = Group::new(vec![None, None]);
    let [one, two] = <[BatchSlot; 2]>::try_from(slots).unwrap();
    let join_after = |after, slot: BatchSlot| async move {
        sleep(after).await;
        let _ = join(&slot, Uuid::now_v7()).await;
    };
    let deliveries = [
        tokio::spawn(join_after(first, one)),
        tokio::spawn(join_after(second, two)),
    ];
    let members = group.gather().await;
    for delivery in deliveries {
        delivery.abort();
    }
    members.iter().map(Option::is_some).collect()
}

#[tokio::test]
async fn the_wait_for_the_first_delivery_is_unlimited_and_short_for_the_others() {
    let long = GATHER_TIMEOUT * 10;
    assert_eq!(joined(long, long).await, [true, true]);
    assert_eq!(joined(Duration::ZERO, Duration::MAX).await, [true, false]);
}

/// A layer that answers by itself may keep the delivery, with its handle.
#[tokio::test]
async fn the_group_does_not_wait_for_a_delivery_whose_slot_was_dropped() {
    let (mut group, slots) = Group::new(vec![None, None]);
    let kept: Vec<_> = slots.iter().map(BatchSlot::handle).collect();
    drop(slots);
    let members = group.gather().await;
    assert!(members.iter().all(Option::is_none));
    drop(kept);
}

/// The first delivery's id is recorded in another table.
#[tokio::test]
async fn a_delivery_that_cannot_share_does_not_end_the_wait_for_the_first() {
    let (mut group, slots) = Group::new(vec![None, None]);
    let alone = tokio::spawn(join(&slots[0], Uuid::nil()));
    let shares = join(&slots[1], Uuid::now_v7());
    let shares = tokio::spawn(async move {
        sleep(GATHER_TIMEOUT * 10).await;
        shares.await
    });
    let members = group.gather().await;
    assert!(members[0].is_none() && members[1].is_some());
    assert!(matches!(
        alone.await.unwrap(),
        Err(TransactionError::Shared)
    ));
    drop(members);
    assert!(matches!(
        shares.await.unwrap(),
        Err(TransactionError::Shared)
    ));
}
