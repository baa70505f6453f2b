//! Settings of idempotency keys.

use outbox::EventType;

use crate::{
    BuildError, ConsumerBuilder, Remember,
    handler::{KeyFunction, KeyMistake},
};

impl<S> ConsumerBuilder<S> {
    /// Sets the function that makes the idempotency key of an event `E`: of events with one key, one is handled,
    /// whatever their message ids. Without this setting only the id tells a duplicate.
    ///
    /// The function returns a `String`, or an `Option<String>`; with `None`, or an empty text, only the id counts.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct OrderPlaced { order: i64 }
    /// # impl outbox::Event for OrderPlaced {
    /// #     const TOPIC: &'static str = "orders.placed";
    /// #     fn key(&self) -> Option<String> { None }
    /// # }
    /// use std::time::Duration;
    ///
    /// use inbox::{ConsumerBuilder, Context, HandlerError, Remember};
    ///
    /// async fn invoice(_: Context, order: OrderPlaced) -> Result<(), HandlerError> {
    ///     # let _ = order;
    ///     Ok(())
    /// }
    ///
    /// fn an_invoice_per_order(builder: ConsumerBuilder) -> ConsumerBuilder {
    ///     let year = Remember::For(Duration::from_hours(365 * 24));
    ///     builder
    ///         .on(invoice)
    ///         .idempotency_key(year, |placed: &OrderPlaced| placed.order.to_string())
    /// }
    /// ```
    ///
    /// The key is recorded in the handler's transaction before the handler is called, and commits or is rolled back
    /// with the handler's work. Another transaction with the key waits for the end of the first. A duplicate by meaning
    /// is acknowledged without a call of the handler; its message id is recorded, and
    /// `postroom_inbox_duplicate_keys_total` counts it.
    ///
    /// - A message that failed, was deferred, rejected or parked has recorded no key: the next message with the key is
    ///   handled, and the parked one is a duplicate when it is tried again. Its row is then removed.
    /// - A key belongs to the consumer and the type's name (`E::TYPE`): two types may use the same texts.
    /// - The function sees what the handler sees: the newest version of a body, after the steps of
    ///   [`upcast`](Self::upcast) and the layers. If another struct has a handler for another version of the type, it
    ///   needs a function too.
    /// - `remember` applies to keys that are recorded from now on.
    /// - The layers ([`layer`](Self::layer)) surround the look-up, and cannot tell a duplicate by meaning from a message
    ///   that was handled. A layer that sets a role must choose one with the rights on `inbox.idempotency_key`.
    ///
    /// Costs one round trip to the database for each message, or for each batch ([`on_many`](Self::on_many)).
    /// `docs/guides/idempotency.md` says more.
    ///
    /// # Errors
    /// `build` returns [`BuildError::TwoIdempotencyKeys`] if `E` has a function already,
    /// [`BuildError::UselessIdempotencyKey`] if no handler takes `E`, [`BuildError::MissingIdempotencyKey`] if a handler
    /// takes another version of the type and has no function, and [`BuildError::Zero`] if keys are to be remembered for
    /// a duration of zero.
    pub fn idempotency_key<E, K>(
        mut self,
        remember: Remember,
        key: impl Fn(&E) -> K + Send + Sync + 'static,
    ) -> Self
    where
        E: EventType + 'static,
        K: Into<Option<String>>,
    {
        self.keys.set(KeyFunction {
            type_name: E::TYPE,
            remember,
            key: Box::new(move |event: &E| key(event).into()),
        });
        self
    }

    pub(super) fn check_keys(&self) -> Result<(), BuildError> {
        let consumer = self.name.clone();
        Err(match self.keys.mistake() {
            None => return Ok(()),
            Some((type_name, KeyMistake::Twice)) => BuildError::TwoIdempotencyKeys {
                consumer,
                type_name,
            },
            Some((type_name, KeyMistake::NoHandler)) => BuildError::UselessIdempotencyKey {
                consumer,
                type_name,
            },
            Some((type_name, KeyMistake::Missing)) => BuildError::MissingIdempotencyKey {
                consumer,
                type_name,
            },
            Some((_, KeyMistake::Zero)) => BuildError::Zero {
                consumer,
                setting: "idempotency_key",
            },
        })
    }
}
