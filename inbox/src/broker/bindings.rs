//! Keeping the queue bound.

use std::{sync::Arc, time::Duration};

use lapin::Channel;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use postroom_message::errors::chain;

use super::{answer::answer, closing::Closing, topology::Topology};

use crate::events;

/// Between two declarations.
const REPEAT: Duration = Duration::from_secs(5);

/// Declares the bindings again and again. If somebody deletes them, or the exchange with them, the broker
/// tells nobody: where another queue is bound to the topic, its messages count as delivered and never come
/// here.
#[derive(Debug)]
pub(super) struct Bindings {
    pub(super) topology: Arc<Topology>,
    pub(super) consumer: Arc<str>,
}

impl Bindings {
    /// Begins, on a channel of its own: what fails closes that.
    pub(super) fn keep(&self, connection: &Closing) -> AbortOnDropHandle<()> {
        let opening = connection.create_channel();
        let (topology, consumer) = (Arc::clone(&self.topology), Arc::clone(&self.consumer));
        AbortOnDropHandle::new(tokio::spawn(async move {
            let error = match answer("opening a channel", opening).await {
                Ok(channel) => repeat(&channel, &topology).await,
                Err(error) => {
                    sleep(REPEAT).await;
                    chain(&error)
                }
            };
            let (consumer, error) = (&*consumer, &*error);
            events::NotBound { consumer, error }.emit();
        }))
    }
}

/// Goes on until something fails; returns what.
async fn repeat(channel: &Channel, topology: &Topology) -> String {
    loop {
        sleep(REPEAT).await;
        if let Err(failure) = topology.bind(channel).await {
            return chain(&failure);
        }
    }
}
