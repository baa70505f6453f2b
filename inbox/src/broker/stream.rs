//! Keeps a consumer connected to the broker.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use amqp::Address;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use postroom_message::Backoff;

use super::{
    BrokerError, Topology,
    connect::Connector,
    refusal::Failure,
    session::{End, Session},
    workers::Workers,
};
use postroom_message::errors::chain;

use crate::{engine::Engine, events};

/// Waits between attempts to connect.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));

/// Shortest session after which the number of failed attempts starts from 0 again.
const STEADY: Duration = Duration::from_secs(10);

/// State of the connection to the broker.
#[derive(Debug)]
enum State {
    /// Waiting for the next attempt; `tries` attempts have failed in a row.
    Disconnected { tries: u32, error: String },
    /// Connecting to the broker and declaring the topology.
    Connecting { tries: u32 },
    /// Consuming deliveries.
    Ready { tries: u32, session: Box<Session> },
    /// Stopped, with no delivery running.
    Stopped,
}

/// A consumer's deliveries, over all its connections.
#[derive(Debug)]
pub(crate) struct Stream {
    connector: Connector,
    workers: Workers,
    engine: Arc<Engine>,
    grace: Duration,
}

impl Stream {
    pub(crate) fn new(
        engine: Arc<Engine>,
        address: Address,
        topology: Topology,
        prefetch: u16,
        (workers, messages_per_transaction): (usize, usize),
        grace: Duration,
    ) -> Self {
        Self {
            connector: Connector {
                address,
                consumer: Arc::clone(&engine.settings.consumer),
                topology: Arc::new(topology),
                prefetch,
            },
            workers: Workers::new(Arc::clone(&engine), workers, messages_per_transaction),
            engine,
            grace,
        }
    }

    /// Consumes until `stop`, and reconnects after each loss; then waits for the running deliveries.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> Result<(), BrokerError> {
        let mut state = State::Connecting { tries: 0 };
        loop {
            state = match state {
                State::Disconnected { tries, error } => self.wait(tries, &error, stop).await,
                State::Connecting { tries } => self.connect(tries, stop).await?,
                State::Ready { tries, session } => self.consume(tries, *session, stop).await,
                State::Stopped => return Ok(()),
            }
        }
    }

    async fn wait(&mut self, tries: u32, error: &str, stop: &CancellationToken) -> State {
        let retry_in = RECONNECT.wait(tries.saturating_add(1));
        let consumer = self.engine.consumer();
        events::Disconnected {
            consumer,
            error,
            retry_in,
        }
        .emit();
        tokio::select! {
            () = stop.cancelled() => self.stop().await,
            () = sleep(retry_in) => State::Connecting { tries: tries.saturating_add(1) },
        }
    }

    async fn connect(
        &mut self,
        tries: u32,
        stop: &CancellationToken,
    ) -> Result<State, BrokerError> {
        match self.connector.connect_until(stop).await {
            None => Ok(self.stop().await),
            Some(Ok(session)) => {
                let consumer = self.engine.consumer();
                let queue = &self.connector.topology.queue;
                events::Connected { consumer, queue }.emit();
                let session = Box::new(session);
                Ok(State::Ready { tries, session })
            }
            Some(Err(Failure::Refused(refused))) => {
                self.workers.finish(self.grace).await;
                Err(refused)
            }
            Some(Err(failure)) => Ok(State::Disconnected {
                tries,
                error: chain(&failure),
            }),
        }
    }

    async fn consume(&mut self, tries: u32, session: Session, stop: &CancellationToken) -> State {
        let began = Instant::now();
        match session.run(&mut self.workers, stop, self.grace).await {
            End::Stopped => State::Stopped,
            End::Lost(error) => {
                self.engine.connections_lost.fetch_add(1, Relaxed);
                State::Disconnected {
                    tries: if began.elapsed() > STEADY { 0 } else { tries },
                    error,
                }
            }
        }
    }

    /// Waits for deliveries that still run although their connection is lost.
    async fn stop(&mut self) -> State {
        self.workers.finish(self.grace).await;
        State::Stopped
    }
}
