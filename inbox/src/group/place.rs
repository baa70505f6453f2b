//! A delivery's place in its group.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::ALONE;
use crate::{
    Context, Delivery, HandlerError, Outcome, TransactionError,
    dedup::{Id, Record},
    sql::processed::Asked,
};

/// Runs the services inside the transaction.
pub(crate) type Run =
    Box<dyn FnOnce(Context) -> BoxFuture<'static, Result<(), HandlerError>> + Send>;

/// A delivery's place in its group, to be taken where its transaction would begin.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    index: usize,
    members: mpsc::UnboundedSender<Member>,
}

impl Place {
    pub(super) const fn new(index: usize, members: mpsc::UnboundedSender<Member>) -> Self {
        Self { index, members }
    }

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
            index: self.index,
            work: Work {
                asked: ask(&delivery),
                delivery,
                run,
                span: Span::current(),
            },
            reply: Reply(sender),
        };
        let sent = self.members.send(member);
        // The group stops waiting once no places are left to be taken.
        drop(self.members);
        sent.map_err(|_| ALONE)?;
        answer.await.map_err(|_| ALONE)?
    }
}

/// A delivery that has come to its group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) index: usize,
    work: Work,
    reply: Reply,
}

impl Member {
    /// Whether its id is one of the ring's: others have another table.
    pub(super) fn can_share(&self) -> bool {
        self.work.asked.is_some()
    }

    pub(super) fn split(self) -> (Work, Reply) {
        (self.work, self.reply)
    }
}

/// What is to be done for a member.
pub(super) struct Work {
    /// What is to be recorded in the ring.
    pub(super) asked: Option<Asked>,
    pub(super) delivery: Delivery,
    pub(super) run: Run,
    /// In which its handler runs.
    pub(super) span: Span,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

fn ask(delivery: &Delivery) -> Option<Asked> {
    let message = delivery.message();
    let id = Id::new(message.message_id.as_deref()?, message.source.as_deref());
    match id.record() {
        Record::Ring { uuid, slot } => Some(Asked {
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
