//! A delivery's slot in its group, and the messages between the two.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::ALONE;
use crate::{
    Context, Delivery, HandlerError, Outcome, TransactionError,
    dedup::{Id, Record},
    sql::processed::DedupEntry,
};

/// The services inside the transaction, called with the handler's context.
pub(crate) type Run =
    Box<dyn FnOnce(Context) -> BoxFuture<'static, Result<(), HandlerError>> + Send>;

/// A delivery's slot in its group, held for the delivery's first attempt.
///
/// Dropping the slot notifies the group that the delivery will not join. The drop of all handles would not
/// do: a layer may answer by itself and keep the delivery, with a handle, for ever.
#[derive(Debug)]
pub(crate) struct BatchSlot(SlotHandle);

impl BatchSlot {
    pub(super) const fn new(index: usize, slot_events: mpsc::UnboundedSender<SlotEvent>) -> Self {
        Self(SlotHandle { index, slot_events })
    }

    pub(crate) fn handle(&self) -> SlotHandle {
        self.0.clone()
    }
}

impl Drop for BatchSlot {
    fn drop(&mut self) {
        // The group is no longer listening if it has stopped waiting or has run.
        let index = self.0.index;
        let _ = self.0.slot_events.send(SlotEvent {
            index,
            member: None,
        });
    }
}

/// An event of a slot, sent to its group.
#[derive(Debug)]
pub(super) struct SlotEvent {
    pub(super) index: usize,
    /// The delivery that joined; `None` if it will not join.
    pub(super) member: Option<Member>,
}

/// A handle by which a delivery joins its group where its own transaction would begin.
#[derive(Debug, Clone)]
pub(crate) struct SlotHandle {
    index: usize,
    slot_events: mpsc::UnboundedSender<SlotEvent>,
}

impl SlotHandle {
    /// Joins the group, and waits until the group has committed.
    ///
    /// # Errors
    /// [`TransactionError::Shared`] if the delivery has to run separately, and
    /// [`TransactionError::Ended`] if a handler of the group committed the transaction.
    pub(crate) async fn join(
        self,
        delivery: Delivery,
        run: Run,
    ) -> Result<Outcome, TransactionError> {
        let (sender, answer) = oneshot::channel();
        let member = Member {
            work: BatchWork {
                entry: dedup_entry(&delivery),
                delivery,
                run,
                span: Span::current(),
            },
            reply: Reply(sender),
        };
        let event = SlotEvent {
            index: self.index,
            member: Some(member),
        };
        self.slot_events.send(event).map_err(|_| ALONE)?;
        answer.await.map_err(|_| ALONE)?
    }
}

/// A delivery that has joined its group.
#[derive(Debug)]
pub(super) struct Member {
    work: BatchWork,
    reply: Reply,
}

impl Member {
    /// Returns `true` if the id is recorded in the ring. Other ids are recorded in another table, for which
    /// there is no shared statement.
    pub(super) fn can_share(&self) -> bool {
        self.work.entry.is_some()
    }

    pub(super) fn split(self) -> (BatchWork, Reply) {
        (self.work, self.reply)
    }
}

/// The work for a member: its record and its handler call.
pub(super) struct BatchWork {
    /// Entry to be recorded in the ring; `None` if the id is not recorded there.
    pub(super) entry: Option<DedupEntry>,
    pub(super) delivery: Delivery,
    pub(super) run: Run,
    /// Span in which the handler runs.
    pub(super) span: Span,
}

impl fmt::Debug for BatchWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWork")
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// Returns the entry to record in the ring; `None` if the id is not recorded there.
fn dedup_entry(delivery: &Delivery) -> Option<DedupEntry> {
    let message = delivery.message();
    let id = Id::new(message.message_id.as_deref()?, message.source.as_deref());
    match id.record() {
        Record::Ring { uuid, slot } => Some(DedupEntry {
            uuid,
            slot,
            made_at: id.made_at()?,
            key: message.key.clone(),
        }),
        Record::Hashed { .. } => None,
    }
}

/// The sender of a member's result.
#[derive(Debug)]
pub(super) struct Reply(oneshot::Sender<Result<Outcome, TransactionError>>);

impl Reply {
    pub(super) fn send(self, answer: Result<Outcome, TransactionError>) {
        // The receiver is gone if a layer has dropped the attempt.
        let _ = self.0.send(answer);
    }
}
