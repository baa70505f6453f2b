//! One subscription, until it ends or the consumer stops.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::interval;
use tokio_util::sync::{CancellationToken, DropGuard};

use postroom_message::errors::chain;

use super::{
    job::Job,
    source::{Receipt, SourceError, Subscription},
    workers::Workers,
};
use crate::Delivery;

/// Time between two checks of the subscription while enough deliveries wait for a worker.
const POLL: Duration = Duration::from_millis(500);

/// A subscription whose deliveries go to the workers.
#[derive(Debug)]
pub(super) struct Session<S> {
    subscription: S,
    /// Cancelled when the session ends, for its deliveries.
    ended: CancellationToken,
    /// Cancels `ended` when the session is dropped.
    _guard: DropGuard,
}

/// Reason why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The consumer stops, and its running deliveries have ended.
    Stopped,
    /// The subscription is gone.
    Lost(String),
}

impl<S: Subscription> Session<S> {
    pub(super) fn new(subscription: S) -> Self {
        let ended = CancellationToken::new();
        Self {
            subscription,
            _guard: ended.clone().drop_guard(),
            ended,
        }
    }

    /// Hands deliveries to the workers until the subscription or the consumer ends.
    pub(super) async fn run(
        mut self,
        workers: &mut Workers,
        stop: &CancellationToken,
        grace: Duration,
    ) -> End {
        let mut poll = interval(POLL);
        let mut polls = false;
        let lost = loop {
            // While the workers have no room, deliveries are taken at intervals only: waking up for each one
            // would cost more than it gains.
            let takes = polls || workers.has_room();
            tokio::select! {
                () = stop.cancelled() => return self.finish(workers, grace).await,
                ended = workers.ended() => if let Err(panicked) = ended {
                    // The source delivers all unacknowledged messages again to the next subscription.
                    break format!("a worker ended unexpectedly: {panicked}");
                },
                next = self.subscription.next(), if takes => {
                    polls = false;
                    if let Err(lost) = self.take(next, workers) {
                        break chain(&lost);
                    }
                }
                _ = poll.tick() => polls = true,
            }
        };
        // The source delivers them again.
        workers.forget_waiting();
        End::Lost(lost)
    }

    /// Starts no more deliveries, and closes the subscription once the running ones have ended.
    ///
    /// The subscription stays until then: otherwise the next single active consumer would receive messages of
    /// keys that are still being handled here.
    async fn finish(self, workers: &mut Workers, grace: Duration) -> End {
        workers.forget_waiting();
        // Ends deliveries that wait for another attempt; the source delivers them again.
        self.ended.cancel();
        workers.finish(grace).await;
        self.subscription.close().await;
        End::Stopped
    }

    /// Passes a delivery, and all others that have already arrived, to the workers, and then starts them: so they
    /// can share a transaction.
    ///
    /// # Errors
    /// Returns the reason if the subscription has ended.
    fn take(
        &mut self,
        first: Result<(Delivery, Receipt), SourceError>,
        workers: &mut Workers,
    ) -> Result<(), SourceError> {
        let mut next = Some(first);
        while let Some(received) = next {
            let (delivery, receipt) = received?;
            workers.arrived(Job {
                delivery,
                receipt,
                ended: self.ended.clone(),
            });
            next = self.subscription.next().now_or_never();
        }
        workers.start();
        Ok(())
    }
}
