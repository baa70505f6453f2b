//! Events of a connection.

use std::{fmt, future::poll_fn, pin::Pin};

use futures_core::Stream;
use lapin::ConnectionStatus;

use crate::Error;

/// Event of a connection.
#[derive(Debug, Clone)]
pub enum Event {
    /// The broker takes no messages for now; the text is its reason.
    Blocked(String),
    /// The broker takes messages again.
    Unblocked,
    /// The connection is gone; `None` if it ended without an error.
    Closed(Option<Error>),
}

/// Reader of a connection's events. They wait in an unbounded queue, so they must be read all the time.
pub struct Events {
    status: ConnectionStatus,
    events: Pin<Box<dyn Stream<Item = lapin::Event> + Send>>,
}

impl Events {
    pub(crate) fn new(client: &lapin::Connection) -> Self {
        Self {
            status: client.status().clone(),
            events: Box::pin(client.events_listener()),
        }
    }

    /// Waits for the next event. A call may be cancelled: no event is lost.
    pub async fn next(&mut self) -> Event {
        loop {
            match poll_fn(|cx| self.events.as_mut().poll_next(cx)).await {
                Some(lapin::Event::ConnectionBlocked(reason)) => return Event::Blocked(reason),
                Some(lapin::Event::ConnectionUnblocked) => return Event::Unblocked,
                // An error that closes only a channel is reported to the channel's user.
                Some(lapin::Event::Error(error))
                    if !error.is_amqp_soft_error() || !self.status.connected() =>
                {
                    return Event::Closed(Some(error.into()));
                }
                Some(_) => {}
                None => return Event::Closed(None),
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.status).finish()
    }
}
