//! Deliveries of a subscription.

use std::{future::poll_fn, pin::Pin};

use futures_core::Stream as _;
use postroom_message::Incoming;

use crate::{Error, read};

/// A delivery from a queue.
#[derive(Debug)]
pub struct Delivered {
    /// The message.
    pub message: Incoming,
    /// Body of the message, or the data of an event in CloudEvents' structured mode.
    pub payload: Vec<u8>,
    /// Number of the delivery on its channel, for the acknowledgement.
    pub tag: u64,
    /// `true` if the broker may have delivered the message before.
    pub redelivered: bool,
}

/// Deliveries of a subscription, in the broker's order.
#[derive(Debug)]
pub struct Deliveries(lapin::Consumer);

impl Deliveries {
    pub(crate) const fn new(client: lapin::Consumer) -> Self {
        Self(client)
    }

    /// Waits for the next delivery; returns `None` once the broker has ended the subscription. A call may be
    /// cancelled: no delivery is lost.
    ///
    /// # Errors
    /// Fails if the channel or its connection is lost.
    pub async fn next(&mut self) -> Option<Result<Delivered, Error>> {
        let next = poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await?;
        Some(next.map_err(Error::from).map(|delivery| {
            let routing_key = delivery.routing_key.as_str();
            let (message, payload) = read(routing_key, &delivery.properties, delivery.data);
            Delivered {
                message,
                payload,
                tag: delivery.delivery_tag,
                redelivered: delivery.redelivered,
            }
        }))
    }
}
