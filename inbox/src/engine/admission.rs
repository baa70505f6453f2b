//! Admission layers: tower layers around the transactions of deliveries.

use futures_util::FutureExt as _;
use postroom_message::errors::chain;
use tower::{ServiceExt as _, service_fn, util::BoxCloneSyncService};
use tower_layer::Layer as _;

use crate::{
    Delivery, HandlerService, Outcome, TransactionError, TransactionLayer, decision::Fault,
    delivery::Origin, handler::BoxError,
};

/// The transactions of a consumer with the admission layers around them.
///
/// The service answers with [`Attempted`] also if the attempt has failed. An error is always one of a layer,
/// which did not admit the delivery, and counts as a failed attempt.
pub type DeliveryService = BoxCloneSyncService<Delivery, Attempted, BoxError>;

/// The result of an attempt at a delivery. Only a transaction makes one, so a layer can neither hide a failure
/// nor answer for a delivery that it has not passed on.
#[derive(Debug)]
pub struct Attempted {
    origin: Origin,
    result: Result<Outcome, TransactionError>,
}

impl Attempted {
    /// Returns the outcome; `None` if the transaction did not commit.
    pub fn outcome(&self) -> Option<Outcome> {
        self.result.as_ref().ok().copied()
    }

    /// Returns why the transaction did not commit; `None` if it did.
    pub fn error(&self) -> Option<&TransactionError> {
        self.result.as_ref().err()
    }
}

/// Makes the service inside all admission layers.
pub(crate) fn innermost(layer: &TransactionLayer, handlers: HandlerService) -> DeliveryService {
    let transaction = layer.layer(handlers);
    BoxCloneSyncService::new(service_fn(move |delivery: Delivery| {
        let origin = delivery.origin();
        let running = transaction.clone().oneshot(delivery).boxed();
        async move {
            let result = running.await;
            Ok(Attempted { origin, result })
        }
    }))
}

/// Passes a delivery through the admission layers to its transaction.
pub(super) async fn pass(service: DeliveryService, delivery: &Delivery) -> Result<Outcome, Fault> {
    let attempted = service.oneshot(delivery.clone()).await;
    let attempted = attempted.map_err(|error| Fault::outside(chain(error.as_ref())))?;
    if attempted.origin != delivery.origin() {
        let text =
            "an admission layer passed on a delivery that it had made; use Delivery::with_body";
        return Err(Fault::outside(text.to_owned()));
    }
    attempted.result.map_err(|error| Fault::of(&error))
}
