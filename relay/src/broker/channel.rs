//! A channel with confirms.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{Channel, Connection, options::ConfirmSelectOptions, types::ShortString};
use tokio::time::timeout;

use super::BrokerError;

/// How long to wait for the farewell of a channel that is given up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A channel with confirms, and what it takes to open another in its place.
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

    /// Opens another in its place, unless it is younger than this. What is in flight on it is given up.
    ///
    /// For a channel with messages that are not confirmed, and for one that has refused messages: the
    /// broker's end of it remembers who led a quorum queue when it was first published to. If that
    /// node was dead just then, the channel refuses everything for that queue until the node is back,
    /// long after another has taken the lead (RabbitMQ 3.10, `rabbit_fifo_client:enqueue`). A new
    /// channel asks again.
    pub(super) async fn renew(&mut self, least_age: Duration) -> Result<(), BrokerError> {
        if self.opened.elapsed() < least_age {
            return Ok(());
        }
        let fresh = Self::open(&self.connection).await?;
        let old = std::mem::replace(self, fresh);
        let farewell = old.channel.close(200, ShortString::default());
        drop(timeout(CLOSE_TIMEOUT, farewell).await);
        Ok(())
    }
}
