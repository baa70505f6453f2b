//! The seam between the relay and a message broker: what the relay needs of a broker, and its adapters.
//!
//! `crate::broker` keeps the connection open and decides what a loss or an overdue answer means; it knows only the
//! traits of this module. An adapter connects, publishes and reports; [`Relay::run_over`](crate::Relay::run_over) runs a
//! relay over it. [`RabbitMq`] is the first. All adapters pass one suite of tests (`tests/guarantees/transport`).

mod error;
mod message;
pub(crate) mod rabbitmq;

use std::{fmt::Debug, future::Future};

use tokio_util::sync::CancellationToken;

pub use error::BrokerError;
pub use message::Message;
pub use rabbitmq::RabbitMq;
pub use relay_core::publish::Outcome;

/// A message broker.
pub trait Transport: Debug + Clone + Send + Sync + 'static {
    /// A connection that holds the fence.
    type Connection: Connection;
    /// A channel of a connection.
    type Channel: Channel;

    /// Connects, takes the fence and opens the channels.
    ///
    /// One connection at a time can hold the fence of a name, until the connection ends. Returns `None` if `stop` is
    /// cancelled before. Unless it succeeds, the call leaves no connection and no fence behind.
    fn open(
        &self,
        fence: &str,
        stop: &CancellationToken,
    ) -> impl Future<Output = Option<Result<Opened<Self>, BrokerError>>> + Send;

    /// Checks that a relay could connect, take the fence and publish, without disturbing the fence's holder.
    fn check(&self, fence: &str) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// An open connection.
#[derive(Debug)]
pub struct Opened<T: Transport> {
    /// The connection itself.
    pub connection: T::Connection,
    /// Channels, on which messages are published at the same time.
    pub channels: Vec<T::Channel>,
    /// The broker's reason if it takes no messages at this time.
    pub blocked: Option<String>,
}

/// A connection that holds the fence.
pub trait Connection: Debug + Send + 'static {
    /// Waits for the next event; never called again after [`Event::Lost`]. A call may be cancelled: no event is lost.
    fn event(&mut self) -> impl Future<Output = Event> + Send;

    /// Closes the connection, and so gives up the fence. Returns after a short time even if the broker is silent.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Event of a connection.
#[derive(Debug)]
pub enum Event {
    /// The broker takes no messages for now; the text is its reason. No answer arrives until [`Event::Unblocked`].
    Blocked(String),
    /// The broker takes messages again.
    Unblocked,
    /// The connection or its fence is lost.
    Lost(BrokerError),
}

/// A channel, on which one batch at a time is published.
pub trait Channel: Debug + Send + Sync + 'static {
    /// Publishes messages; returns the outcome of each one, in their order: [`Outcome::Confirmed`],
    /// [`Outcome::Unroutable`], [`Outcome::Nacked`] or [`Outcome::Rejected`].
    ///
    /// The call waits for the answers without a time limit. After an error, or if the call is cancelled, messages may
    /// be in flight, and the channel must be renewed.
    ///
    /// # Errors
    /// Fails if the outcome of *every* message is unknown.
    fn publish(
        &mut self,
        messages: &[&Message],
    ) -> impl Future<Output = Result<Vec<Outcome>, Loss>> + Send;

    /// Replaces the channel by a new one. Messages in flight on the old one are abandoned: they may still arrive.
    ///
    /// # Errors
    /// Fails if the connection is lost.
    fn renew(&mut self) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// Loss of a channel or of its whole connection, with a batch in flight.
#[derive(Debug)]
pub struct Loss {
    /// Reason of the loss.
    pub error: BrokerError,
    /// The broker's text if it closed the channel or the connection over one of the messages.
    pub blame: Option<String>,
}
