//! Reading a consumer's queues: the plain queue, or partitions that processes share.
//!
//! The row in `inbox.partitions` says which layout is read; a consumer without a row has the plain layout. A process that
//! asks for no partitions reads the plain queue as long as there is no other layout, and takes no locks. Any other process
//! is a *member*: it holds locks on a connection of its own, by which the members share the partitions evenly. One member
//! is the *leader*, which declares the layout at the broker and changes it.
//!
//! The locks share the work; order does not depend on them, because the broker serves one active consumer of each queue.

mod leader;
mod locks;
mod member;
mod plain;
mod readers;
mod share;
mod state;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    DatabaseError,
    intake::{BrokerError, Intake, RabbitMq, Stream},
    layout::Layout,
    transaction::with_answer_timeout,
};
use member::Member;
use plain::PlainQueue;
use state::LayoutState;

/// Reason why reading ended before it was stopped.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The broker refused the connection, a queue or an exchange.
    Broker(BrokerError),
    /// The locks cannot be held in the database.
    Database(DatabaseError),
}

impl From<BrokerError> for ReadError {
    fn from(refused: BrokerError) -> Self {
        Self::Broker(refused)
    }
}

/// Reads the consumer's queues until `stop` is cancelled. `wish` is the layout that the settings ask for.
pub(crate) async fn read(
    broker: RabbitMq,
    wish: Layout,
    intake: Intake,
    stop: &CancellationToken,
) -> Result<(), ReadError> {
    while !stop.is_cancelled() {
        if wish.is_plain() {
            let Some(layout) = layout_of(&intake, stop).await else {
                return Ok(());
            };
            if LayoutState::is_plain(layout.as_ref()) {
                // Ends if the layout is changed, too.
                let queue = PlainQueue::new(broker.clone(), &intake);
                Stream::new(queue, &intake).run(stop).await?;
                continue;
            }
        }
        let member = Member::new(broker.clone(), wish, intake.clone());
        Box::pin(member.run(stop)).await?;
    }
    Ok(())
}

/// Waits until the database tells the layout; returns `None` if `stop` is cancelled first.
async fn layout_of(intake: &Intake, stop: &CancellationToken) -> Option<Option<LayoutState>> {
    let engine = &intake.engine;
    let mut tries = 0_u32;
    loop {
        let looking = stop.run_until_cancelled(with_answer_timeout(state::look(&engine.settings)));
        match looking.await? {
            Ok(layout) => return Some(layout),
            Err(error) => engine.emit_unavailable("looking for the consumer's layout", &error),
        }
        tries = tries.saturating_add(1);
        stop.run_until_cancelled(sleep(engine.limits.outage.wait(tries)))
            .await?;
    }
}
