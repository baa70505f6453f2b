//! An open connection: its events, and those of the fence.

use std::{fmt, pin::Pin, sync::Arc};

use amqp::Connection;

use super::CLOSE_TIMEOUT;
use crate::transport::{self, BrokerError, Event};

/// A connection to RabbitMQ.
pub struct RabbitMqConnection {
    connection: Arc<Connection>,
    events: amqp::Events,
    /// Completes when the fence is lost.
    fence_lost: Pin<Box<dyn Future<Output = BrokerError> + Send>>,
}

impl RabbitMqConnection {
    pub(super) fn new(
        connection: Arc<Connection>,
        fence_lost: impl Future<Output = BrokerError> + Send + 'static,
    ) -> Self {
        Self {
            events: connection.events(),
            connection,
            fence_lost: Box::pin(fence_lost),
        }
    }
}

impl transport::Connection for RabbitMqConnection {
    async fn event(&mut self) -> Event {
        tokio::select! {
            event = self.events.next() => match event {
                amqp::Event::Blocked(reason) => Event::Blocked(reason),
                amqp::Event::Unblocked => Event::Unblocked,
                amqp::Event::Closed(error) => {
                    Event::Lost(error.map_or(BrokerError::Closed, BrokerError::Lost))
                }
            },
            error = &mut self.fence_lost => Event::Lost(error),
        }
    }

    async fn close(self) {
        self.connection.close(CLOSE_TIMEOUT).await;
    }
}

impl fmt::Debug for RabbitMqConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RabbitMqConnection")
            .field(&self.connection)
            .finish()
    }
}
