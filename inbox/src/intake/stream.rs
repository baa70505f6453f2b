//! Keeps a consumer subscribed to a source.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use postroom_message::{Backoff, errors::chain};

use super::{
    BrokerError,
    session::{End, Session},
    source::{Source, SourceError, Subscription as _},
    workers::Workers,
};
use crate::{engine::Engine, events, status::Tracker};

/// Waits between attempts to subscribe.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));

/// Shortest session after which the number of failed attempts starts from 0 again.
const STEADY: Duration = Duration::from_secs(10);

/// Longest wait for an attempt to subscribe that is under way when the consumer stops.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// State of the subscription.
#[derive(Debug)]
enum State<S> {
    /// Waiting for the next attempt; `tries` attempts have failed in a row.
    Disconnected { tries: u32, error: String },
    /// Subscribing.
    Connecting { tries: u32 },
    /// Consuming deliveries.
    Ready {
        tries: u32,
        session: Box<Session<S>>,
    },
    /// Stopped, with no delivery running.
    Stopped,
}

/// The parts that all streams of a consumer share.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) engine: Arc<Engine>,
    /// Largest number of transactions at a time, over all streams.
    workers: usize,
    messages_per_transaction: usize,
    /// Longest wait for running handlers after a stop.
    grace: Duration,
    permits: Arc<Semaphore>,
    /// `true` if each stream reports its subscription as the consumer's; `false` where there are several.
    reports: bool,
}

impl Intake {
    pub(crate) fn new(
        engine: Arc<Engine>,
        (workers, messages_per_transaction): (usize, usize),
        grace: Duration,
    ) -> Self {
        Self {
            engine,
            workers,
            messages_per_transaction,
            grace,
            permits: Arc::new(Semaphore::new(workers.min(Semaphore::MAX_PERMITS))),
            reports: true,
        }
    }

    /// Returns the same for one of several streams, which do not report their subscriptions as the consumer's.
    pub(crate) const fn for_one_of_several(mut self) -> Self {
        self.reports = false;
        self
    }
}

/// The deliveries of a source, over all its subscriptions.
#[derive(Debug)]
pub(crate) struct Stream<S> {
    source: S,
    workers: Workers,
    engine: Arc<Engine>,
    grace: Duration,
    reports: bool,
}

impl<S: Source> Stream<S> {
    pub(crate) fn new(source: S, intake: &Intake) -> Self {
        let engine = Arc::clone(&intake.engine);
        let limits = (intake.workers, intake.messages_per_transaction);
        Self {
            source,
            workers: Workers::new(Arc::clone(&engine), Arc::clone(&intake.permits), limits),
            engine,
            grace: intake.grace,
            reports: intake.reports,
        }
    }

    /// Consumes until `stop`, and subscribes again after each loss; then waits for the running deliveries.
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

    fn report(&self, report: impl FnOnce(&Tracker)) {
        if self.reports {
            report(&self.engine.tracker);
        }
    }

    async fn wait(
        &mut self,
        tries: u32,
        error: &str,
        stop: &CancellationToken,
    ) -> State<S::Subscription> {
        let retry_in = RECONNECT.wait(tries.saturating_add(1));
        self.report(|tracker| tracker.disconnected(error));
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
    ) -> Result<State<S::Subscription>, BrokerError> {
        self.report(Tracker::connecting);
        match self.subscribe_until(stop).await {
            Ok(None) => Ok(self.stop().await),
            Ok(Some(subscription)) => {
                let consumer = self.engine.consumer();
                let queue = self.source.name();
                events::Connected { consumer, queue }.emit();
                self.report(Tracker::subscribed);
                let session = Box::new(Session::new(subscription));
                Ok(State::Ready { tries, session })
            }
            Err(SourceError::Refused(refused)) => {
                self.workers.finish(self.grace).await;
                Err(refused)
            }
            Err(lost) => Ok(State::Disconnected {
                tries,
                error: chain(&lost),
            }),
        }
    }

    /// Subscribes; returns `None` if the consumer is stopped first.
    ///
    /// After a stop, an attempt that is under way still runs to its end, for at most [`CLOSE_WAIT`], so that its
    /// subscription can be closed in order: the next process may be waiting for that.
    async fn subscribe_until(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<S::Subscription>, SourceError> {
        let mut subscribing = Box::pin(self.source.subscribe(stop));
        tokio::select! {
            () = stop.cancelled() => {}
            subscribed = &mut subscribing => return subscribed,
        }
        if let Ok(Ok(Some(subscription))) = timeout(CLOSE_WAIT, subscribing).await {
            subscription.close().await;
        }
        Ok(None)
    }

    async fn consume(
        &mut self,
        tries: u32,
        session: Session<S::Subscription>,
        stop: &CancellationToken,
    ) -> State<S::Subscription> {
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

    /// Waits for deliveries that still run although their subscription is lost.
    async fn stop(&mut self) -> State<S::Subscription> {
        self.workers.finish(self.grace).await;
        State::Stopped
    }
}
