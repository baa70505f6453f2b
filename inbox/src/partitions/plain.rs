//! The plain queue, read by a process that takes no locks.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::state::{self, LayoutState};
use crate::{
    Delivery,
    engine::Engine,
    intake::{
        Intake, RabbitMq,
        source::{Receipt, Source, SourceError, Subscription},
    },
    transaction::with_answer_timeout,
};

/// Longest wait for the database before the queue is declared. The broker can be used while the database is away.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Time between two looks while the database is away.
const AGAIN: Duration = Duration::from_secs(1);

/// The plain queue, for as long as the consumer has the plain layout.
///
/// The leader that changes the layout records the change first, and then waits until the queue has no consumer. A process
/// subscribes first, and then looks for a change. So one of the two sees the other.
#[derive(Debug)]
pub(super) struct PlainQueue {
    queue: RabbitMq,
    engine: Arc<Engine>,
}

impl PlainQueue {
    pub(super) fn new(queue: RabbitMq, intake: &Intake) -> Self {
        Self {
            queue,
            engine: Arc::clone(&intake.engine),
        }
    }
}

/// Returns `true` if the consumer has the plain layout.
async fn is_plain(engine: &Engine) -> Result<bool, sqlx::Error> {
    let state = with_answer_timeout(state::look(&engine.settings)).await?;
    Ok(LayoutState::is_plain(state.as_ref()))
}

impl Source for PlainQueue {
    type Subscription = PlainSubscription;

    fn name(&self) -> &str {
        self.queue.name()
    }

    /// Returns `None` also if the layout has been changed.
    async fn subscribe(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<PlainSubscription>, SourceError> {
        // The queue is not bound again if it may not be.
        if let Ok(Ok(false)) = timeout(FIRST_LOOK, is_plain(&self.engine)).await {
            return Ok(None);
        }
        let Some(inner) = self.queue.subscribe(stop).await? else {
            return Ok(None);
        };
        let engine = Arc::clone(&self.engine);
        let looking = tokio::spawn(async move {
            loop {
                match is_plain(&engine).await {
                    Ok(is_plain) => return is_plain,
                    Err(_) => sleep(AGAIN).await,
                }
            }
        });
        Ok(Some(PlainSubscription {
            inner,
            looking: Some(AbortOnDropHandle::new(looking)),
            early: VecDeque::new(),
        }))
    }
}

/// A subscription that gives no delivery before the layout is known to be the plain one.
#[derive(Debug)]
pub(super) struct PlainSubscription {
    inner: <RabbitMq as Source>::Subscription,
    /// Task that looks for a change; `None` once it has found none.
    looking: Option<AbortOnDropHandle<bool>>,
    /// Deliveries that have arrived meanwhile; the prefetch limits their number.
    early: VecDeque<(Delivery, Receipt)>,
}

impl Subscription for PlainSubscription {
    async fn next(&mut self) -> Result<(Delivery, Receipt), SourceError> {
        while let Some(looking) = &mut self.looking {
            tokio::select! {
                looked = looking => match looked {
                    Ok(true) => self.looking = None,
                    _ => return Err(SourceError::Lost("the consumer has partitions now".into())),
                },
                next = self.inner.next() => self.early.push_back(next?),
            }
        }
        match self.early.pop_front() {
            Some(early) => Ok(early),
            None => self.inner.next().await,
        }
    }

    async fn close(self) {
        self.inner.close().await;
    }
}
