//! Values that can be published.

use crate::{Event, Message, PublishError};

/// A value that can be published: a [`Message`], or a reference to an [`Event`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published",
    label = "expected an `outbox::Message` or a reference to an `outbox::Event`"
)]
pub trait IntoMessage {
    /// Converts the value to a message.
    ///
    /// # Errors
    /// Fails as [`Message::event`] does.
    fn into_message(self) -> Result<Message, PublishError>;
}

impl IntoMessage for Message {
    fn into_message(self) -> Result<Message, PublishError> {
        Ok(self)
    }
}

impl<E: Event + ?Sized> IntoMessage for &E {
    fn into_message(self) -> Result<Message, PublishError> {
        Message::event(self)
    }
}
