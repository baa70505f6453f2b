//! A connection to a broker, from its opening to its close.

use std::{io, sync::Arc, time::Duration};

use async_rs::Runtime;
use lapin::{
    AsyncTcpStream, Confirmation, ConnectionProperties, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{LongString, ShortString},
};
use postroom_message::Slot;
use tokio::{runtime::Handle, time::timeout};
use uuid::Uuid;

use crate::{
    Address, Channel, ConfirmChannel, DeliveryLimit, Error, Events,
    channel::short,
    mapping::{MARKER_TYPE, marker},
    runtime::TokioKit,
    server::Greeting,
    stream::BrokerStream,
};

/// Longest wait for the broker to confirm the close of a connection that was dropped.
const CLOSE_DROPPED: Duration = Duration::from_secs(5);

/// A connection to a broker, which is closed when it is dropped.
///
/// lapin 4.12 closes a connection when its last handle is dropped; but a request that is cancelled just as its
/// answer arrives leaks a handle. The connection would then stay open with its subscription, which as the single
/// active consumer would receive all messages, or with its exclusive queue.
#[derive(Debug)]
pub struct Connection {
    client: Arc<lapin::Connection>,
    delivery_limit: DeliveryLimit,
}

impl Connection {
    /// Connects to a broker; `name` is shown in its list of connections.
    ///
    /// The client's automatic recovery stays off. The call has no time limit.
    ///
    /// # Errors
    /// Fails if the broker cannot be reached or refuses the connection.
    pub async fn open(address: &Address, name: &str) -> Result<Self, Error> {
        let properties =
            ConnectionProperties::default().with_connection_name(LongString::from(name));
        let greeting = Greeting::default();
        let received = greeting.clone();
        let runtime = Runtime::new(TokioKit::current());
        let target = address.clone();
        let open = async move |_, _| {
            let stream = BrokerStream::connect(&target, greeting.clone()).await;
            Ok(AsyncTcpStream::Plain(stream?))
        };
        let uri = address.uri().clone();
        let client = lapin::Connection::connector(uri, runtime, open, properties).await?;
        Ok(Self {
            client: Arc::new(client),
            delivery_limit: received.delivery_limit(),
        })
    }

    /// Returns the broker's treatment of a message that is delivered again and again.
    pub const fn delivery_limit(&self) -> DeliveryLimit {
        self.delivery_limit
    }

    /// Returns `true` while the broker takes no messages, because it is short of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.client.status().blocked()
    }

    /// Returns the events from now on. Each event goes to one reader, so there must be one reader only.
    pub fn events(&self) -> Events {
        Events::new(&self.client)
    }

    /// Opens a channel. The future does not borrow the connection.
    ///
    /// # Errors
    /// Fails if the connection is lost.
    pub fn open_channel(&self) -> impl Future<Output = Result<Channel, Error>> + Send + use<> {
        let client = Arc::clone(&self.client);
        async move { Ok(Channel::new(client.create_channel().await?)) }
    }

    /// Opens a channel with publisher confirms.
    ///
    /// # Errors
    /// Fails if the connection is lost.
    pub async fn open_confirm_channel(&self) -> Result<ConfirmChannel, Error> {
        ConfirmChannel::open(Arc::clone(&self.client)).await
    }

    /// Publishes a message as `user_id` and takes it back, to check the user and its permissions. No queue receives
    /// the message.
    ///
    /// # Errors
    /// Fails if the user may not publish or is another one, or if the exchange does not exist.
    pub async fn try_to_publish(
        &self,
        exchange: &str,
        topic: &str,
        user_id: Option<&str>,
    ) -> Result<(), Error> {
        loop {
            let channel = self.open_channel().await?;
            let tried = channel.try_to_publish(exchange, topic, user_id);
            let Err(error) = tried.await else {
                return Ok(());
            };
            // The broker's refusal arrived between two requests, and the client did not report it: try again.
            if !matches!(error.client().kind(), ErrorKind::InvalidChannelState(..)) {
                return Err(error);
            }
        }
    }

    /// Publishes a marker with this token to the queue of a slot, on a channel of its own; returns `true` once a queue has
    /// taken the marker, and `false` if no queue is bound to the slot.
    ///
    /// # Errors
    /// Fails if the user may not publish, if the exchange does not exist, or if the queue did not take the marker.
    pub async fn publish_marker(
        &self,
        exchange: &str,
        slot: Slot,
        token: Uuid,
    ) -> Result<bool, Error> {
        let channel = self.open_channel().await?;
        let client = channel.client();
        client
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let (exchange, topic) = (short(exchange)?, short(MARKER_TYPE)?);
        let properties = marker(slot, token);
        let published = client.basic_publish(exchange, topic, options, &[], properties);
        // Nothing else is in flight on the channel, so a return can only be the marker's.
        match published.await?.await? {
            Confirmation::Ack(returned) => Ok(returned.is_none()),
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                let problem = "the queue did not take the marker";
                Err(io::Error::other(problem).into())
            }
        }
    }

    /// Closes the connection and waits for the broker's confirmation, for at most `longest`: a broker that does not
    /// answer has lost the connection anyway.
    pub async fn close(&self, longest: Duration) {
        drop(timeout(longest, close(&self.client)).await);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.client.status().connected()
            && let Ok(runtime) = Handle::try_current()
        {
            let client = Arc::clone(&self.client);
            runtime.spawn(async move { timeout(CLOSE_DROPPED, close(&client)).await });
        }
    }
}

async fn close(client: &lapin::Connection) {
    drop(client.close(200, ShortString::default()).await);
}
