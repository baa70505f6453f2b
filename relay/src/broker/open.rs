//! Making a connection: the fence is taken, the exchange declared, the channels opened.

use std::{sync::Arc, time::Duration};

use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::{FieldTable, LongString, ShortString},
    uri::AMQPUri,
};
use tokio::time::timeout;

use super::{
    BrokerError,
    channel::Confirming,
    error::reply_code,
    link::{CLOSE_TIMEOUT, Link},
};
use crate::config::Secret;

/// An open connection with what was opened on it.
pub(super) struct Open {
    pub(super) connection: Arc<Connection>,
    pub(super) channels: Vec<Confirming>,
    /// Keeps the exclusive queue; nothing is published on it.
    pub(super) fence: Channel,
}

impl Link {
    /// Connects, takes the fence, declares the exchange and opens the channels.
    pub(super) async fn open(&self) -> Result<Open, BrokerError> {
        let after = self.amqp.connect_timeout;
        let mut connected = None;
        let opened = match timeout(after, self.try_open(&mut connected)).await {
            Ok(opened) => opened,
            Err(_) => Err(BrokerError::TimedOut {
                what: "connecting to the broker",
                after,
            }),
        };
        // lapin may keep a connection whose request was cut short; it would keep the fence too.
        if let (Err(_), Some(connection)) = (&opened, connected) {
            let farewell = connection.close(200, ShortString::default());
            drop(timeout(CLOSE_TIMEOUT, farewell).await);
        }
        opened
    }

    /// Tells of the connection as soon as there is one.
    async fn try_open(&self, connected: &mut Option<Arc<Connection>>) -> Result<Open, BrokerError> {
        let connection = Arc::new(connect(&self.url, self.lease_timeout / 2).await?);
        *connected = Some(Arc::clone(&connection));
        let fence = connection
            .create_channel()
            .await
            .map_err(BrokerError::Lost)?;
        self.take_fence(&fence).await?;
        if self.amqp.declare_exchange {
            let channel = connection
                .create_channel()
                .await
                .map_err(BrokerError::Lost)?;
            declare_exchange(&channel, &self.amqp.exchange, false).await?;
            drop(channel.close(200, ShortString::default()).await);
        }
        let mut channels = Vec::with_capacity(self.amqp.channels);
        for _ in 0..self.amqp.channels {
            channels.push(Confirming::open(&connection).await?);
        }
        Ok(Open {
            connection,
            channels,
            fence,
        })
    }

    async fn take_fence(&self, channel: &Channel) -> Result<(), BrokerError> {
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let name = short(&self.fence);
        match channel
            .queue_declare(name, options, FieldTable::default())
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if reply_code(&error) == Some(405) => Err(BrokerError::Fenced {
                queue: self.fence.clone(),
            }),
            Err(error) => Err(BrokerError::Lost(error)),
        }
    }
}

/// Connects with a heartbeat that notices silence within about twice its interval.
pub(crate) async fn connect(url: &Secret, heartbeat: Duration) -> Result<Connection, BrokerError> {
    let mut uri: AMQPUri = url.expose().parse().map_err(|reason| BrokerError::Url {
        url: url.to_string(),
        reason,
    })?;
    uri.query
        .heartbeat
        .get_or_insert(heartbeat.as_secs().clamp(1, 60) as u16);
    let name = format!("postroom-relay:{}", std::process::id());
    let properties = ConnectionProperties::default().with_connection_name(LongString::from(name));
    Connection::connect_uri(uri, properties)
        .await
        .map_err(|source| {
            // access refused, virtual host missing or not allowed
            match reply_code(&source) {
                Some(403 | 530) => BrokerError::Unauthorised {
                    url: url.to_string(),
                    source,
                },
                _ => BrokerError::Connect {
                    url: url.to_string(),
                    source,
                },
            }
        })
}

/// Declares the exchange, or only looks whether it is there.
pub(crate) async fn declare_exchange(
    channel: &Channel,
    exchange: &str,
    passive: bool,
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        passive,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            short(exchange),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .map_err(|source| match reply_code(&source) {
            Some(406) => BrokerError::ExchangeDiffers {
                exchange: exchange.to_owned(),
                source,
            },
            Some(403 | 404) => BrokerError::RouteDown {
                exchange: exchange.to_owned(),
                source,
            },
            _ => BrokerError::Lost(source),
        })
}

/// Names are checked when they are configured; `ShortString::from` would panic for one that is too long.
pub(super) fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}
