//! Groups of deliveries that share a transaction.
//!
//! Each delivery of a group passes the user's layers separately, and joins the group, by its
//! [`SlotHandle`], where its own transaction would begin. The [`Group`] records all ids in one statement,
//! runs the handlers one after another, and commits once. If anything fails, everything is rolled back and
//! each message runs again separately. So no savepoints are needed, and no account of which handlers had
//! run.

mod order;
mod shared;
mod slot;

use std::{collections::HashSet, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use postroom_message::errors::chain;
use tokio::{sync::mpsc, time::timeout};

#[cfg(test)]
pub(crate) use shared::span;
pub(crate) use slot::{BatchSlot, SlotHandle};

use crate::{
    Outcome, TransactionError, events,
    handler::Router,
    transaction::{Settings, panic_text},
};
use slot::{BatchWork, Member, Reply, SlotEvent};

/// Longest wait for the next delivery to join, once one has joined. Without the limit a layer that delays a
/// delivery until an earlier one has ended would block the group for ever, since the earlier one ends with
/// the group.
const GATHER_TIMEOUT: Duration = Duration::from_millis(5);

/// Deliveries that share a transaction.
#[derive(Debug)]
pub(crate) struct Group {
    /// Key of each delivery, in the order of the queue.
    keys: Vec<Option<String>>,
    slot_events: mpsc::UnboundedReceiver<SlotEvent>,
}

impl Group {
    /// Creates a group with a slot for each delivery; `keys` are the deliveries' keys.
    pub(crate) fn new(keys: Vec<Option<String>>) -> (Self, Vec<BatchSlot>) {
        let (sender, slot_events) = mpsc::unbounded_channel();
        let slots = (0..keys.len())
            .map(|index| BatchSlot::new(index, sender.clone()))
            .collect();
        (Self { keys, slot_events }, slots)
    }

    /// Waits for the deliveries to join, and runs those that did in one transaction.
    pub(crate) async fn run(mut self, settings: &Settings, router: &Router) {
        let consumer = &*settings.consumer;
        let joined = self.gather().await;
        let members = order::without_overtaking(&self.keys, joined);
        if members.is_empty() {
            return;
        }
        let (works, replies): (Vec<BatchWork>, Vec<Reply>) =
            members.into_iter().map(Member::split).unzip();
        let messages = works.len();
        let running = AssertUnwindSafe(shared::run(settings, router, works)).catch_unwind();
        // On an error the replies are dropped, and each member runs separately; likewise if user code, such
        // as a hook of the pool, panics while the transaction begins or ends.
        let error = match running.await {
            Ok(Ok(answers)) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    if let Some(answer) = answer {
                        reply.send(answer);
                    }
                }
                return;
            }
            // Another process has parked a message of one of the keys. Not a failure: each member runs
            // separately, and is parked behind that message if it has the same key.
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

    /// Waits until every delivery has joined or will not join. Returns a member, or `None`, for each slot.
    ///
    /// The wait for the first one has no limit: no delivery waits for the others yet, and a layer may take
    /// any time.
    async fn gather(&mut self) -> Vec<Option<Member>> {
        let mut joined = Vec::new();
        joined.resize_with(self.keys.len(), || None);
        let mut missing: HashSet<usize> = (0..self.keys.len()).collect();
        let mut any_joined = false;
        while !missing.is_empty()
            && let Some(SlotEvent { index, member }) = self.next_event(any_joined).await
        {
            missing.remove(&index);
            if let Some(member) = member.filter(Member::can_share) {
                joined[index] = Some(member);
                any_joined = true;
            }
        }
        // A delivery that tries to join later gets `ALONE`.
        self.slot_events.close();
        joined
    }

    /// Waits for the next event of a slot; `None` after [`GATHER_TIMEOUT`] if a delivery has joined.
    async fn next_event(&mut self, any_joined: bool) -> Option<SlotEvent> {
        let event = self.slot_events.recv();
        if any_joined {
            timeout(GATHER_TIMEOUT, event).await.ok().flatten()
        } else {
            event.await
        }
    }
}

/// The result for a member; `None` if it has to run separately.
type Answer = Option<Result<Outcome, TransactionError>>;

/// The error of a delivery that has to run separately.
const ALONE: TransactionError = TransactionError::Shared;

#[cfg(test)]
mod tests;
