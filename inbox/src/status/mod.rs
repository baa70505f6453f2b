//! The state of a running consumer, for health checks and people.

mod guards;
#[cfg(feature = "axum")]
mod http;
mod report;
mod tracker;

use std::{fmt, sync::Arc};

use tokio::sync::watch;

#[cfg(feature = "axum")]
pub use http::health_router;
pub use report::{ConsumerState, StatusReport};
pub(crate) use tracker::Tracker;

/// Handle on the state of one consumer, made by [`Consumer::status`](crate::Consumer::status) before the consumer runs.
///
/// Cheap to clone. The handle stays valid after the consumer has ended.
///
/// ```
/// # async fn f(consumer: inbox::Consumer) -> Result<(), inbox::RunError> {
/// let status = consumer.status();
/// tokio::spawn(async move {
///     status.ready().await;
///     println!("{}", status.report());
/// });
/// consumer.run(std::future::pending()).await
/// # }
/// ```
#[derive(Clone)]
pub struct ConsumerStatus {
    tracker: Arc<Tracker>,
    changes: watch::Receiver<tracker::Facts>,
}

impl ConsumerStatus {
    pub(crate) fn new(tracker: &Arc<Tracker>) -> Self {
        Self {
            changes: tracker.subscribe(),
            tracker: Arc::clone(tracker),
        }
    }

    /// Returns the present state of the consumer.
    pub fn report(&self) -> StatusReport {
        self.tracker.report()
    }

    /// Waits until the consumer is [ready](StatusReport::is_ready). Never completes if the consumer has ended. Cancel
    /// safe.
    pub async fn ready(&self) {
        self.until(tracker::Facts::is_ready).await;
    }

    /// Waits until `condition` holds for the consumer's [`ConsumerState`]. Never completes if the consumer ends
    /// before. Cancel safe.
    ///
    /// A state that lasts for a moment only may be missed.
    pub async fn wait_for(&self, mut condition: impl FnMut(ConsumerState) -> bool) {
        self.until(|facts| condition(facts.state)).await;
    }

    async fn until(&self, condition: impl FnMut(&tracker::Facts) -> bool) {
        let mut changes = self.changes.clone();
        // Fails only without a sender, and `self` holds it.
        let _ = changes.wait_for(condition).await;
    }
}

impl fmt::Debug for ConsumerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConsumerStatus")
            .field(&self.report())
            .finish()
    }
}
