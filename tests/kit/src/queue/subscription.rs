//! A consumer's subscription to a queue in memory.

use std::sync::Arc;

use inbox::{
    Delivery,
    source::{Receipt, SourceError, Subscription},
};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender},
    watch,
};

use super::state::State;

/// A subscription to a [`TestQueue`](super::TestQueue).
#[derive(Debug)]
pub struct TestSubscription {
    number: u64,
    state: Arc<watch::Sender<State>>,
    changes: watch::Receiver<State>,
    sender: UnboundedSender<u64>,
    acknowledged: UnboundedReceiver<u64>,
}

impl TestSubscription {
    pub(super) fn new(
        number: u64,
        state: Arc<watch::Sender<State>>,
        sender: UnboundedSender<u64>,
        acknowledged: UnboundedReceiver<u64>,
    ) -> Self {
        Self {
            number,
            changes: state.subscribe(),
            state,
            sender,
            acknowledged,
        }
    }

    fn acknowledge(&self, tag: u64) {
        self.state
            .send_if_modified(|state| state.acknowledge(self.number, tag));
    }

    fn take(&self) -> Result<Option<(Delivery, Receipt)>, SourceError> {
        let mut taken = Ok(None);
        self.state.send_if_modified(|state| {
            if state.is_current(self.number) {
                taken = Ok(state.take());
            } else {
                taken = Err(SourceError::Lost("the subscription was cut".into()));
            }
            false
        });
        let with_receipt = |(tag, delivery)| (delivery, Receipt::new(tag, self.sender.clone()));
        taken.map(|taken| taken.map(with_receipt))
    }
}

impl Subscription for TestSubscription {
    async fn next(&mut self) -> Result<(Delivery, Receipt), SourceError> {
        loop {
            self.changes.mark_unchanged();
            if let Some(taken) = self.take()? {
                return Ok(taken);
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    changed.map_err(|error| SourceError::Lost(error.into()))?;
                }
                Some(tag) = self.acknowledged.recv() => self.acknowledge(tag),
            }
        }
    }

    async fn close(mut self) {
        self.acknowledged.close();
        while let Ok(tag) = self.acknowledged.try_recv() {
            self.acknowledge(tag);
        }
        self.state.send_if_modified(|state| {
            let is_current = state.is_current(self.number);
            if is_current {
                state.end();
            }
            is_current
        });
    }
}
