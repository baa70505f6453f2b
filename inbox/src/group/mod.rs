//! Many messages in one transaction.
//!
//! Deliveries that are to share a transaction pass the user's layers each for itself, and meet where
//! their transactions would begin: there each has a [`Place`]. The [`Group`] records their ids in one
//! statement, runs their handlers one after another, and commits once. If anything fails, everything
//! is rolled back and each message runs again by itself: nothing needs to know how far the shared
//! transaction had come, and no savepoints are taken.

mod order;
mod shared;
mod slot;

use std::{collections::HashSet, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::{sync::mpsc, time::timeout};

#[cfg(test)]
pub(crate) use shared::span;
pub(crate) use slot::{BatchSlot, SlotHandle};

use crate::{
    Outcome, TransactionError, events,
    handler::{Router, chain},
    transaction::{Settings, panic_text},
};
use slot::{BatchWork, Member, Reply, SlotEvent};

/// Longest wait, once a delivery has come through the user's layers, for the next one to. A layer may hold it
/// back until an earlier one has ended, which ends with the group.
const LINGER: Duration = Duration::from_millis(5);

/// Deliveries that share a transaction.
#[derive(Debug)]
pub(crate) struct Group {
    /// Key of each delivery, in their order.
    keys: Vec<Option<String>>,
    slot_events: mpsc::UnboundedReceiver<SlotEvent>,
}

impl Group {
    /// Makes a group with a seat for each of the keys.
    pub(crate) fn new(keys: Vec<Option<String>>) -> (Self, Vec<BatchSlot>) {
        let (sender, slot_events) = mpsc::unbounded_channel();
        let slots = (0..keys.len())
            .map(|index| BatchSlot::new(index, sender.clone()))
            .collect();
        (Self { keys, slot_events }, slots)
    }

    /// Waits for the deliveries, and runs them.
    pub(crate) async fn run(mut self, settings: &Settings, router: &Router) {
        let consumer = &*settings.consumer;
        let here = self.gather().await;
        let members = order::in_turn(&self.keys, here);
        if members.is_empty() {
            return;
        }
        let (works, replies): (Vec<BatchWork>, Vec<Reply>) =
            members.into_iter().map(Member::split).unzip();
        let messages = works.len();
        let running = AssertUnwindSafe(shared::run(settings, router, works)).catch_unwind();
        // On an error the replies are dropped, and each member runs by itself; so they do if something of
        // the user's panics where the transaction begins or ends.
        let error = match running.await {
            Ok(Ok(answers)) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    if let Some(answer) = answer {
                        reply.send(answer);
                    }
                }
                return;
            }
            // A message of one of the keys was parked meanwhile: no failure, each gives way by itself.
            Ok(Err(TransactionError::Shared)) => return,
            Ok(Err(error)) => chain(&error),
            Err(panic) => panic_text(panic.as_ref()),
        };
        events::SharedFailed {
            consumer,
            messages,
            error: &error,
        }
        .emit();
    }

    /// Waits until every delivery has come, or will not.
    ///
    /// For the first one as long as it takes: nobody waits for the others yet, and a layer may take its time.
    async fn gather(&mut self) -> Vec<Option<Member>> {
        let mut here = Vec::new();
        here.resize_with(self.keys.len(), || None);
        let mut missing: HashSet<usize> = (0..self.keys.len()).collect();
        let mut anybody_waits = false;
        while !missing.is_empty()
            && let Some(SlotEvent {
                index,
                member: came,
            }) = self.note(anybody_waits).await
        {
            missing.remove(&index);
            if let Some(member) = came.filter(Member::can_share) {
                here[index] = Some(member);
                anybody_waits = true;
            }
        }
        // Whoever comes later is told to run by itself.
        self.slot_events.close();
        here
    }

    /// Waits for what becomes of one of the places.
    async fn note(&mut self, anybody_waits: bool) -> Option<SlotEvent> {
        let note = self.slot_events.recv();
        if anybody_waits {
            timeout(LINGER, note).await.ok().flatten()
        } else {
            note.await
        }
    }
}

/// What became of a member: `None` if it has to run by itself.
type Answer = Option<Result<Outcome, TransactionError>>;

/// Tells that a delivery has to run by itself.
const ALONE: TransactionError = TransactionError::Shared;

#[cfg(test)]
mod tests;
