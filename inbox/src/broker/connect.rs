//! Connects to the broker and starts to consume.

use std::{sync::Arc, time::Duration};

use amqp::{Address, Connection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    CLOSE, answer::answer, bindings::Bindings, exchange, refusal::Failure, session::Session,
    topology::Topology,
};

/// Longest wait for a connection attempt that is under way when the consumer stops.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Everything that is needed to connect.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) address: Address,
    pub(super) consumer: Arc<str>,
    pub(super) topology: Arc<Topology>,
    pub(super) prefetch: u16,
}

impl Connector {
    /// Connects and begins to consume; returns `None` if the consumer is stopped first.
    ///
    /// After a stop, an attempt that is under way still runs to its end, for at most [`CLOSE_WAIT`], so that its
    /// subscription can be closed in order: the next process may be waiting for that.
    pub(super) async fn connect_until(
        &self,
        stop: &CancellationToken,
    ) -> Option<Result<Session, Failure>> {
        let mut connecting = Box::pin(self.connect(stop));
        tokio::select! {
            () = stop.cancelled() => {}
            connected = &mut connecting => return connected.transpose(),
        }
        if let Ok(Ok(Some(session))) = timeout(CLOSE_WAIT, connecting).await {
            session.close().await;
        }
        None
    }

    /// Connects, declares the topology and begins to consume; returns `None` if the consumer is stopped while
    /// the exchange is missing.
    async fn connect(&self, stop: &CancellationToken) -> Result<Option<Session>, Failure> {
        let name = format!("postroom-inbox {}", self.consumer);
        let connecting = Connection::open(&self.address, &name);
        let connection = answer("connecting to the broker", connecting).await?;
        let waiting = exchange::wait(&self.topology, &self.consumer, &connection, stop);
        let Some(channel) = waiting.await? else {
            connection.close(CLOSE).await;
            return Ok(None);
        };
        let limit = connection.delivery_limit();
        self.topology.declare(&channel, limit).await?;
        let limiting = channel.set_prefetch(self.prefetch);
        answer("setting the prefetch", limiting).await?;
        let consuming = channel.consume(&self.topology.queue);
        let deliveries = answer("consuming from the queue", consuming).await?;
        let bindings = Bindings {
            topology: Arc::clone(&self.topology),
            consumer: Arc::clone(&self.consumer),
        };
        Ok(Some(Session::new(
            connection,
            channel,
            deliveries,
            bindings,
            self.prefetch,
        )))
    }
}
