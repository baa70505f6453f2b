//! A channel with publisher confirms.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{Channel, Connection, options::ConfirmSelectOptions, types::ShortString};
use tokio::time::timeout;

use super::BrokerError;

/// Longest wait for the broker to confirm the closing of a channel.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A channel with publisher confirms, which can be replaced by a new one.
#[derive(Debug)]
pub(super) struct Confirming {
    connection: Arc<Connection>,
    channel: Channel,
    opened: Instant,
}

impl Confirming {
    pub(super) async fn open(connection: &Arc<Connection>) -> Result<Self, BrokerError> {
        let channel = connection
            .create_channel()
            .await
            .map_err(BrokerError::Lost)?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(BrokerError::Lost)?;
        Ok(Self {
            connection: Arc::clone(connection),
            channel,
            opened: Instant::now(),
        })
    }

    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Replaces the channel by a new one and closes the old one, unless the old one is younger than
    /// `least_age`. Messages in flight on the old channel are abandoned.
    ///
    /// Use it after an overdue confirm or a refused message. The broker's side of a channel remembers which
    /// node led a quorum queue when the channel first published to the queue. If that node was dead at that
    /// time, the channel refuses every message for the queue until the node is back, long after another
    /// node has become leader (RabbitMQ 3.10, `rabbit_fifo_client:enqueue`). A new channel looks the leader
    /// up again.
    pub(super) async fn renew(&mut self, least_age: Duration) -> Result<(), BrokerError> {
        if self.opened.elapsed() < least_age {
            return Ok(());
        }
        let fresh = Self::open(&self.connection).await?;
        let old = std::mem::replace(self, fresh);
        let closing = old.channel.close(200, ShortString::default());
        drop(timeout(CLOSE_TIMEOUT, closing).await);
        Ok(())
    }
}
