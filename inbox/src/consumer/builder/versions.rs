//! Settings of the versions of events.

use outbox::{EventType, assert_valid_event};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    BuildError, ConsumerBuilder,
    handler::{BoxError, Step, VersionMistake},
};

impl<S> ConsumerBuilder<S> {
    /// Adds a step that turns a body of event `E` in version `from` into one of version `from + 1`.
    ///
    /// An older body passes one step after another until a handler takes its version, so that handlers need to know
    /// the newest version only. Parked and dead messages pass the steps too when they are tried again. The step takes
    /// and returns whatever serde reads and writes: the structs of both versions, or `serde_json::Value`:
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// use inbox::ConsumerBuilder;
    /// use serde_json::{Value, json};
    ///
    /// #[derive(Deserialize)]
    /// struct OrderPlacedV2 {
    ///     order: i64,
    ///     price: f64,
    ///     currency: String,
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct OrderPlaced {
    ///     order: i64,
    ///     cents: i64,
    ///     currency: String,
    /// }
    ///
    /// impl outbox::Event for OrderPlaced {
    ///     const TOPIC: &'static str = "orders.placed";
    ///     const VERSION: u32 = 3;
    ///     fn key(&self) -> Option<String> {
    ///         Some(self.order.to_string())
    ///     }
    /// }
    ///
    /// fn with_older_versions(builder: ConsumerBuilder) -> ConsumerBuilder {
    ///     builder
    ///         .upcast::<OrderPlaced, _, _>(1, |mut body: Value| {
    ///             body["currency"] = json!("EUR");
    ///             body
    ///         })
    ///         .upcast::<OrderPlaced, _, _>(2, |old: OrderPlacedV2| OrderPlaced {
    ///             order: old.order,
    ///             cents: (old.price * 100.0).round() as i64,
    ///             currency: old.currency,
    ///         })
    /// }
    /// ```
    ///
    /// A body that the step cannot take is parked dead as undecodable, as a body is that a handler cannot take.
    ///
    /// # Errors
    /// `build` returns [`BuildError::UselessUpcast`] for a step that no body can pass, and
    /// [`BuildError::MissingUpcast`] if a version after the first step has neither a step nor a handler.
    pub fn upcast<E, Old, New>(
        self,
        from: u32,
        step: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self
    where
        E: EventType,
        Old: DeserializeOwned,
        New: Serialize,
    {
        self.try_upcast::<E, Old, New, std::convert::Infallible>(from, move |old| Ok(step(old)))
    }

    /// Adds a step as [`upcast`](Self::upcast) does, which may fail. The message of a failed step is parked dead as
    /// undecodable.
    ///
    /// # Errors
    /// As [`upcast`](Self::upcast).
    pub fn try_upcast<E, Old, New, Error>(
        mut self,
        from: u32,
        step: impl Fn(Old) -> Result<New, Error> + Send + Sync + 'static,
    ) -> Self
    where
        E: EventType,
        Old: DeserializeOwned,
        New: Serialize,
        Error: Into<BoxError>,
    {
        const { assert_valid_event::<E>() }
        let step = Step::new(from, move |body| {
            let new = step(serde_json::from_value(body)?).map_err(Into::into)?;
            Ok(serde_json::to_value(new)?)
        });
        if !self.router.insert_step::<E>(step) {
            self.duplicate_type = Some(E::TYPE);
        }
        self
    }

    pub(super) fn check_versions(&self) -> Result<(), BuildError> {
        let consumer = self.name.clone();
        Err(match self.router.version_mistake() {
            None => return Ok(()),
            Some((type_name, VersionMistake::UselessStep(from))) => BuildError::UselessUpcast {
                consumer,
                type_name,
                from,
            },
            Some((type_name, VersionMistake::MissingStep(from))) => BuildError::MissingUpcast {
                consumer,
                type_name,
                from,
            },
        })
    }
}
