//! A delivery's place in its group.

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

/// Runs the services inside the transaction.
pub(crate) type Run =
    Box<dyn FnOnce(Context) -> BoxFuture<'static, Result<(), HandlerError>> + Send>;

/// Keeps a delivery's place for its first attempt. Dropped, the place is given up: whoever waits for the
/// delivery would not know, since a layer may answer itself and keep what it was given.
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
        // Nobody listens any more if the others were not waited for, or have run.
        let index = self.0.index;
        let _ = self.0.slot_events.send(SlotEvent {
            index,
            member: None,
        });
    }
}

/// What a group is told of one of its places.
#[derive(Debug)]
pub(super) struct SlotEvent {
    pub(super) index: usize,
    /// The delivery; `None` if it will not come.
    pub(super) member: Option<Member>,
}

/// A delivery's place in its group, to be taken where its transaction would begin.
#[derive(Debug, Clone)]
pub(crate) struct SlotHandle {
    index: usize,
    slot_events: mpsc::UnboundedSender<SlotEvent>,
}

impl SlotHandle {
    /// Waits until the group has committed.
    ///
    /// # Errors
    /// [`TransactionError::Shared`]: the delivery has to run by itself.
    pub(crate) async fn take(
        self,
        delivery: Delivery,
        run: Run,
    ) -> Result<Outcome, TransactionError> {
        let (sender, answer) = oneshot::channel();
        let member = Member {
            work: BatchWork {
                asked: ask(&delivery),
                delivery,
                run,
                span: Span::current(),
            },
            reply: Reply(sender),
        };
        let note = SlotEvent {
            index: self.index,
            member: Some(member),
        };
        self.slot_events.send(note).map_err(|_| ALONE)?;
        answer.await.map_err(|_| ALONE)?
    }
}

/// A delivery that has come to its group.
#[derive(Debug)]
pub(super) struct Member {
    work: BatchWork,
    reply: Reply,
}

impl Member {
    /// Whether its id is one of the ring's: others have another table.
    pub(super) fn can_share(&self) -> bool {
        self.work.asked.is_some()
    }

    pub(super) fn split(self) -> (BatchWork, Reply) {
        (self.work, self.reply)
    }
}

/// What is to be done for a member.
pub(super) struct BatchWork {
    /// What is to be recorded in the ring.
    pub(super) asked: Option<DedupEntry>,
    pub(super) delivery: Delivery,
    pub(super) run: Run,
    /// In which its handler runs.
    pub(super) span: Span,
}

impl fmt::Debug for BatchWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWork")
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

fn ask(delivery: &Delivery) -> Option<DedupEntry> {
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

/// Where a member waits for what became of it.
#[derive(Debug)]
pub(super) struct Reply(oneshot::Sender<Result<Outcome, TransactionError>>);

impl Reply {
    pub(super) fn send(self, answer: Result<Outcome, TransactionError>) {
        // Nobody waits any more if a layer of the user's gave up.
        let _ = self.0.send(answer);
    }
}
