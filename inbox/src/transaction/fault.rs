//! The reply to a request that is given up, or that is a duplicate by meaning.

use outbox::Message;
use sqlx::Connection as _;
use statement::Link;

use super::{Settings, commit::check, with_answer_timeout};
use crate::{
    Delivery, Fault, Reason, TransactionError, decision::ParkDecision, events,
    idempotency::DuplicateKey, sql::session::TxIdentity,
};

/// Reason of the fault with which a duplicate by meaning is replied to.
const DUPLICATE_KEY: &str = "duplicate_key";

/// Replies with a [`Fault`] if the decision gives up a request, in the transaction that records so. Otherwise whoever made
/// the request would wait for ever.
///
/// If the fault cannot be written, as without the right to publish, the request is given up without a reply.
///
/// # Errors
/// The transaction can no longer be used.
pub(crate) async fn reply(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    decision: &ParkDecision,
) -> Result<(), sqlx::Error> {
    // A stranger's message must not make this service send anything.
    if !decision.is_dead() || decision.reason == Reason::Untrusted {
        return Ok(());
    }
    let error = decision.error.clone();
    let reason = decision.reason.as_str();
    // Boxed: the future is large, and rarely needed.
    Box::pin(send(settings, link, delivery, reason, error)).await
}

/// Replies with a [`Fault`] to a request that is a duplicate by meaning: its handler was not called, and does not reply.
///
/// # Errors
/// The transaction can no longer be used, or a layer around the handler has ended it.
pub(super) async fn reply_to_duplicate(
    settings: &Settings,
    link: &mut Link<'_>,
    identity: &TxIdentity,
    delivery: &Delivery,
    known: &DuplicateKey,
) -> Result<(), TransactionError> {
    if delivery.message().reply_to.is_none() {
        return Ok(());
    }
    check(link, identity).await?;
    let key = &known.key.text;
    let error = format!("another message with the idempotency key {key:?} was handled before");
    let sending = send(settings, link, delivery, DUPLICATE_KEY, Some(error));
    with_answer_timeout(Box::pin(sending))
        .await
        .map_err(TransactionError::Unavailable)
}

/// Sends a fault in reply to a delivery, if it is a request.
async fn send(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    reason: &str,
    error: Option<String>,
) -> Result<(), sqlx::Error> {
    let message = delivery.message();
    let (Some(consumer), Some(request)) = (&message.reply_to, &message.message_id) else {
        return Ok(());
    };
    let fault = Fault::new(
        request.clone(),
        settings.consumer.to_string(),
        reason.to_owned(),
        error,
    );
    let context = crate::Context::inherited_by(delivery);
    let reply = Message::event(&fault).and_then(|fault| fault.replying(consumer, request));
    let mut savepoint = link.connection().begin().await?;
    let published = match reply {
        Ok(reply) => {
            let reply = reply.context(&context);
            let outbox = settings.outbox;
            let publishing = outbox.publish_without_transaction_check(&mut savepoint, reply);
            publishing.await.map(drop)
        }
        Err(error) => Err(error),
    };
    match published {
        Ok(()) => savepoint.commit().await,
        Err(error) => {
            events::FaultNotSent {
                consumer: &settings.consumer,
                error: &error,
            }
            .emit();
            savepoint.rollback().await
        }
    }
}
