//! Properties of a message, as handlers take them.

use std::{convert::Infallible, sync::Arc};

use chrono::{DateTime, Utc};

use super::{FromDelivery, Headers, Incoming, OptionalFromDelivery};
use crate::{Delivery, HandlerError};

/// A property that the handler takes and the message lacks. The message is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot call the handler: the message has no {property}, which the handler takes; its publisher must set it, or the handler takes an Option"
)]
#[non_exhaustive]
pub struct MissingProperty {
    /// Name of the property, and its place in an AMQP message.
    pub property: &'static str,
}

/// Defines an extractor of a property that a message may lack.
macro_rules! property {
    ($(#[$doc:meta])* $name:ident($value:ty), $field:ident, $property:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(
            /// The value.
            pub $value,
        );

        impl<S> OptionalFromDelivery<S> for $name {
            type Rejection = Infallible;

            fn from_delivery(delivery: &Delivery, _: &S) -> Result<Option<Self>, Infallible> {
                Ok(delivery.message().$field.clone().map(Self))
            }
        }

        impl<S> FromDelivery<S> for $name {
            type Rejection = HandlerError;

            fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, HandlerError> {
                let property = $property;
                let value = delivery.message().$field.clone();
                let value = value.ok_or_else(|| HandlerError::reject(MissingProperty { property }));
                value.map(Self)
            }
        }
    };
}

property!(
    /// Extracts the id of the message: unique within its source, and a UUID version 7 if Postroom published it.
    Id(String),
    message_id,
    "id (property message_id)"
);

property!(
    /// Extracts the id shared by all messages of one business process.
    CorrelationId(String),
    correlation_id,
    "correlation id (property correlation_id)"
);

property!(
    /// Extracts the id of the message that caused this one.
    CausationId(String),
    causation_id,
    "causation id (header cloudEvents_causationid)"
);

property!(
    /// Extracts the key by which the message is ordered.
    OrderingKey(String),
    key,
    "key (header cloudEvents_partitionkey)"
);

property!(
    /// Extracts the time at which the message was written, by the clock of the publisher's database.
    OccurredAt(DateTime<Utc>),
    occurred_at,
    "time (header cloudEvents_time or property timestamp)"
);

/// Extracts the number of this attempt, from 1. Reruns after a conflict are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(
    /// The number.
    pub u32,
);

/// Extracts the message's body as bytes: as received, unless a layer replaced it. The handler takes the event beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(
    /// The bytes, shared with the delivery.
    pub Arc<[u8]>,
);

/// Implements an extractor of a value that every message has.
macro_rules! always {
    ($name:ty, $extract:expr) => {
        impl<S> FromDelivery<S> for $name {
            type Rejection = Infallible;

            fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, Infallible> {
                let extract: fn(&Delivery) -> Self = $extract;
                Ok(extract(delivery))
            }
        }
    };
}

always!(Attempt, |delivery| Self(delivery.attempt()));
always!(Body, |delivery| Self(delivery.shared_body()));
always!(Headers, |delivery| delivery.message().headers.clone());
always!(Incoming, |delivery| delivery.message().clone());
always!(Delivery, Self::clone);

#[cfg(test)]
mod tests;
