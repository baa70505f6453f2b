//! One connection's time: from the first delivery to its loss, or to the end of the consumer.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection, Consumer};
use outbox::wire;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::workers::{Job, Workers};
use crate::{Delivery, handler::chain};

/// Longest wait for the broker to take note of the end.
const CLOSE: Duration = Duration::from_secs(5);

/// A connection that consumes.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    /// Dropping the channel would close it.
    _channel: Channel,
    deliveries: Consumer,
    /// Tells the session's deliveries that it has ended.
    ended: CancellationToken,
    /// Cancels `ended`, however the session ends.
    _guard: DropGuard,
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The consumer stops, and everything that ran has ended.
    Stopped,
    /// The connection, the channel or the queue is gone.
    Lost(String),
}

impl Session {
    pub(super) fn new(connection: Connection, channel: Channel, deliveries: Consumer) -> Self {
        let ended = CancellationToken::new();
        Self {
            connection,
            _channel: channel,
            deliveries,
            _guard: ended.clone().drop_guard(),
            ended,
        }
    }

    /// Hands deliveries to the workers until the session or the consumer ends.
    pub(super) async fn run(
        mut self,
        workers: &mut Workers,
        stop: &CancellationToken,
        grace: Duration,
    ) -> End {
        let lost = loop {
            tokio::select! {
                () = stop.cancelled() => return self.finish(workers, grace).await,
                () = workers.ended() => {}
                next = self.deliveries.next() => match next {
                    Some(Ok(delivery)) => workers.arrived(self.job(delivery)),
                    Some(Err(error)) => break chain(&error),
                    None => break "the broker cancelled the consumer; was its queue deleted?".to_owned(),
                },
            }
        };
        // They come again.
        workers.forget_waiting();
        End::Lost(lost)
    }

    /// Starts nothing more, and closes the connection once everything has ended.
    ///
    /// The subscription stays until then: without it a single active consumer's successor would
    /// take the next messages of keys that are still being handled here.
    async fn finish(self, workers: &mut Workers, grace: Duration) -> End {
        workers.forget_waiting();
        // Those that wait for another try give up; they come again.
        self.ended.cancel();
        workers.finish(grace).await;
        let close = self.connection.close(200, "consumer stops".into());
        let _ = tokio::time::timeout(CLOSE, close).await;
        End::Stopped
    }

    fn job(&self, delivery: lapin::message::Delivery) -> Job {
        let message = wire::decode(delivery.routing_key.as_str(), &delivery.properties);
        Job {
            delivery: Delivery::new(message, delivery.data),
            acker: delivery.acker,
            ended: self.ended.clone(),
        }
    }
}
