//! RabbitMQ. The [`fence`] is an exclusive queue; the exchange is declared when a connection opens, with the requests of
//! [`requests`]. The AMQP client's own recovery stays off: after a loss the outcome of everything in flight is
//! unknown, and only the state machine in `relay_core::publish` may decide which messages are sent again.

mod channel;
mod connection;
pub(crate) mod fence;
mod probe;
mod recipients;
pub(crate) mod requests;

use std::{sync::Arc, time::Duration};

use amqp::{Address, Connection};
use tokio_util::sync::CancellationToken;

use super::{Opened, Transport};
use crate::{
    config::{Amqp, Config, Secret},
    transport::BrokerError,
};
use channel::RabbitMqChannel;
use connection::RabbitMqConnection;
use fence::Fence;
use requests::{answered, connect, declare_exchange, may_declare};

/// Longest wait for the broker to confirm the closing of a connection. A request that the broker cannot answer may
/// delay the confirmation too.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// RabbitMQ, by its address, credentials and settings.
#[derive(Debug, Clone)]
pub struct RabbitMq {
    address: Address,
    /// The URL, for errors.
    url: Secret,
    amqp: Amqp,
    /// Lease timeout. Either side closes a silent connection within this time.
    lease_timeout: Duration,
}

impl RabbitMq {
    /// Reads the settings, without connecting.
    ///
    /// # Errors
    /// Fails if the broker's URL is not set or cannot be read, if it sends the password in clear to another machine, or
    /// if the files for TLS cannot be used.
    pub fn new(config: &Config) -> Result<Self, BrokerError> {
        Ok(Self {
            address: requests::address(config)?,
            url: config.amqp_url()?.clone(),
            amqp: config.amqp.clone(),
            lease_timeout: config.lease.timeout,
        })
    }

    /// Opens the connection. Stores it in `connected` as soon as it exists, so that the caller can close
    /// it.
    async fn try_open(
        &self,
        fence: &str,
        connected: &mut Option<Arc<Connection>>,
    ) -> Result<Opened<Self>, BrokerError> {
        let what = "connecting to the broker";
        let connection = Arc::new(answered(what, self.amqp.connect_timeout, self.connect()).await?);
        *connected = Some(Arc::clone(&connection));
        let taking = Fence::take(&connection, fence);
        let after = self.amqp.connect_timeout;
        let taken_after = after + fence::LONGEST;
        let fence = answered(what, taken_after, taking).await?;
        let user_id = self.amqp.user_id.resolve(self.address.user());
        let user_id = user_id.map(Arc::from);
        let opening = self.open_channels(&connection, user_id.as_ref());
        let channels = answered(what, after, opening).await?;
        let keeping = fence.keep(self.lease_timeout / 4);
        let opened = RabbitMqConnection::new(Arc::clone(&connection), keeping);
        if let Some(user_id) = user_id {
            let probing = probe::user_id(&connection, &self.amqp.exchange, user_id);
            answered("asking the broker for the user", after, probing).await?;
        }
        // Asked after the events have begun, so that no change is missed.
        let blocked = connection.is_blocked();
        Ok(Opened {
            connection: opened,
            channels,
            blocked: blocked.then(|| "the broker takes no messages".to_owned()),
        })
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        connect(&self.address, &self.url, self.lease_timeout / 2).await
    }

    async fn open_channels(
        &self,
        connection: &Arc<Connection>,
        user_id: Option<&Arc<str>>,
    ) -> Result<Vec<RabbitMqChannel>, BrokerError> {
        if self.amqp.declare_exchange {
            let channel = connection.open_channel().await?;
            declare_exchange(&channel, &self.amqp.exchange, false).await?;
        }
        let mut channels = Vec::with_capacity(self.amqp.channels);
        for _ in 0..self.amqp.channels {
            channels.push(RabbitMqChannel::open(connection, &self.amqp, user_id).await?);
        }
        Ok(channels)
    }
}

impl Transport for RabbitMq {
    type Connection = RabbitMqConnection;
    type Channel = RabbitMqChannel;

    async fn open(
        &self,
        fence: &str,
        stop: &CancellationToken,
    ) -> Option<Result<Opened<Self>, BrokerError>> {
        let mut connected = None;
        let opening = self.try_open(fence, &mut connected);
        let opened = stop.run_until_cancelled(opening).await;
        // A connection whose opening was cancelled may stay open, and the broker would keep its fence.
        if !matches!(opened, Some(Ok(_)))
            && let Some(connection) = connected
        {
            connection.close(CLOSE_TIMEOUT).await;
        }
        opened
    }

    async fn check(&self, fence: &str) -> Result<(), BrokerError> {
        let connecting = self.connect();
        let connection = answered(
            "connecting to the broker",
            self.amqp.connect_timeout,
            connecting,
        )
        .await?;
        let asking = async {
            may_declare(&connection, fence).await?;
            let channel = connection.open_channel().await?;
            declare_exchange(&channel, &self.amqp.exchange, !self.amqp.declare_exchange).await
        };
        let what = "asking the broker for the fence and the exchange";
        let asked = answered(what, self.amqp.connect_timeout, asking).await;
        connection.close(CLOSE_TIMEOUT).await;
        asked
    }
}
