//! A message that has passed every check.

use serde_json::value::RawValue;
use sqlx::types::Json;

use crate::{Message, MessageContext, MessageId, PublishError, stored};

/// A message with its headers in stored form. Made before any statement, even a lock, is sent.
pub(crate) struct Row {
    pub(crate) message: Message,
    pub(crate) headers: Json<Box<RawValue>>,
}

impl Row {
    /// Completes a message from its context, and checks the rules that concern the whole message.
    pub(crate) fn new(
        mut message: Message,
        context: &MessageContext,
    ) -> Result<Self, PublishError> {
        message.inherit(context);
        message.check_times()?;
        let headers = Json(stored::headers(&message.headers)?);
        Ok(Self { message, headers })
    }

    pub(crate) const fn id(&self) -> MessageId {
        self.message.message_id()
    }
}
