//! Keeps the queue bound to the exchange.

use std::{sync::Arc, time::Duration};

use amqp::{Channel, Connection};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use postroom_message::errors::chain;

use super::{answer::answer, topology::Topology};
use crate::{events, status::Tracker};

/// Time between two declarations.
const REPEAT: Duration = Duration::from_secs(5);

/// Declares the bindings again and again, because the broker does not report that a binding, or the exchange
/// with its bindings, was deleted. If another queue is bound to the topic, its messages would count as
/// delivered without ever reaching this queue.
#[derive(Debug)]
pub(super) struct Bindings {
    pub(super) topology: Arc<Topology>,
    pub(super) consumer: Arc<str>,
    pub(super) tracker: Arc<Tracker>,
}

impl Bindings {
    /// Starts the task, on a separate channel: an error closes only that channel.
    pub(super) fn keep(&self, connection: &Connection) -> AbortOnDropHandle<()> {
        let opening = connection.open_channel();
        let (topology, consumer) = (Arc::clone(&self.topology), Arc::clone(&self.consumer));
        let tracker = Arc::clone(&self.tracker);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let error = match answer("opening a channel", opening).await {
                Ok(channel) => repeat(&channel, &topology, &tracker).await,
                Err(error) => {
                    sleep(REPEAT).await;
                    chain(&error)
                }
            };
            let (consumer, error) = (&*consumer, &*error);
            tracker.bound(Some(&format!("cannot bind the queue again: {error}")));
            events::NotBound { consumer, error }.emit();
        }))
    }
}

/// Binds the queue at intervals until a request fails; returns the error's text.
async fn repeat(channel: &Channel, topology: &Topology, tracker: &Tracker) -> String {
    loop {
        sleep(REPEAT).await;
        if let Err(failure) = topology.bind(channel).await {
            return chain(&failure);
        }
        tracker.bound(None);
    }
}
