//! Opening a connection: take the fence, declare the exchange, open the channels.

use std::{future::Future, sync::Arc, time::Duration};

use amqp::{ConfirmChannel, Connection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    BrokerError,
    fence::{self, Fence},
    requests::{channel, connect, declare_exchange},
};
use crate::config::{Amqp, Secret};

/// Longest wait for the broker to confirm the closing of a connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Address, credentials and settings of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: Secret,
    pub(crate) amqp: Amqp,
    /// Name of the exclusive queue that only one relay of an outbox and lane can hold.
    pub(crate) fence: String,
    /// Lease timeout. Either side closes a silent connection within this time.
    pub(crate) lease_timeout: Duration,
}

/// An open connection with its channels and fence.
pub(super) struct Open {
    pub(super) connection: Arc<Connection>,
    pub(super) channels: Vec<ConfirmChannel>,
    pub(super) fence: Fence,
}

impl Target {
    /// Connects, takes the fence, declares the exchange and opens the channels. Returns `None` if `stop` is
    /// cancelled before.
    pub(super) async fn open(&self, stop: &CancellationToken) -> Option<Result<Open, BrokerError>> {
        let mut connected = None;
        let opening = self.try_open(&mut connected);
        let opened = stop.run_until_cancelled(opening).await;
        // A connection whose opening was cancelled may stay open, and the broker would keep its fence.
        if !matches!(opened, Some(Ok(_)))
            && let Some(connection) = connected
        {
            connection.close(CLOSE_TIMEOUT).await;
        }
        opened
    }

    /// Opens the connection. Stores it in `connected` as soon as it exists, so that the caller can close
    /// it.
    async fn try_open(&self, connected: &mut Option<Arc<Connection>>) -> Result<Open, BrokerError> {
        let connecting = connect(&self.url, self.lease_timeout / 2);
        let connection = Arc::new(self.in_time(connecting).await?);
        *connected = Some(Arc::clone(&connection));
        let fence = Fence::take(&connection, &self.fence);
        let fence = timeout(self.amqp.connect_timeout + fence::LONGEST, fence).await;
        let fence = fence.unwrap_or_else(|_| Err(self.timed_out()))?;
        let channels = self.in_time(self.open_channels(&connection)).await?;
        Ok(Open {
            connection,
            channels,
            fence,
        })
    }

    async fn open_channels(
        &self,
        connection: &Arc<Connection>,
    ) -> Result<Vec<ConfirmChannel>, BrokerError> {
        if self.amqp.declare_exchange {
            let channel = channel(connection).await?;
            declare_exchange(&channel, &self.amqp.exchange, false).await?;
            channel.close().await;
        }
        let mut channels = Vec::with_capacity(self.amqp.channels);
        for _ in 0..self.amqp.channels {
            let channel = connection.open_confirm_channel().await;
            channels.push(channel.map_err(BrokerError::Lost)?);
        }
        Ok(channels)
    }

    async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let done = timeout(self.amqp.connect_timeout, step).await;
        done.unwrap_or_else(|_| Err(self.timed_out()))
    }

    const fn timed_out(&self) -> BrokerError {
        BrokerError::TimedOut {
            what: "connecting to the broker",
            after: self.amqp.connect_timeout,
        }
    }
}
