//! The reply to a request that is given up.

use outbox::Message;
use sqlx::Connection as _;
use statement::Link;

use super::Settings;
use crate::{Delivery, Fault, Reason, decision::ParkDecision, events};

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
    let message = delivery.message();
    let (Some(consumer), Some(request)) = (&message.reply_to, &message.message_id) else {
        return Ok(());
    };
    let fault = Fault::new(
        request.clone(),
        settings.consumer.to_string(),
        decision.reason.to_string(),
        decision.error.clone(),
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
