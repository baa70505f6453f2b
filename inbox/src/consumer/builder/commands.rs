//! Settings of messages that are sent to this consumer alone: commands and replies.

use std::time::Duration;

use outbox::EventType;
use postroom_message::recipient;
use serde::Deserialize;

use crate::{ConsumerBuilder, Handler, HandlerFuture, extract::Extractors};

impl<S> ConsumerBuilder<S> {
    /// Adds an async function as the handler of commands `E`: of messages that others send to this consumer by name,
    /// with `Outbox::send` or `Outbox::request`, in place of publishing them to whoever listens.
    ///
    /// The function is a handler as [`on`](Self::on) takes it; versions and [`upcast`](Self::upcast) hold for commands
    /// too. No topic is bound. Instead the consumer declares an exchange of its own, `postroom.in.<consumer>`, and binds
    /// its queue to it. Whoever may write to that exchange may command the consumer, so the right is granted to the
    /// relay of one sender at a time. A message of this type that arrives in any other way is handled as well.
    ///
    /// Replies to this consumer's own requests come the same way: a handler of a reply, or of a
    /// [`Fault`](crate::Fault), is a handler of commands.
    ///
    /// The broker's user needs the right to configure and read `postroom.in.<consumer>`.
    ///
    /// # Errors
    /// As [`on`](Self::on), and `build` returns [`BuildError::Name`](crate::BuildError::Name) for a consumer whose name
    /// is longer than 243 bytes.
    pub fn on_command<E, H, M>(mut self, handler: H) -> Self
    where
        E: EventType + for<'de> Deserialize<'de> + Send + 'static,
        H: Handler<E, M, Future: HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        const { outbox::assert_valid_event::<E>() };
        let (state, keys) = (self.state.clone(), self.keys.slot::<E>(E::TYPE));
        if !self.router.insert(E::VERSION, handler, state, keys) {
            self.duplicate_type = Some(E::TYPE);
        }
        self.takes_commands()
    }

    /// Keeps the replies to this service's requests, each for `window`, so that [`Replies`](crate::Replies) finds them: a
    /// request of an HTTP client waits for a reply, in any process of the service. Not kept by default.
    ///
    /// The first reply to a request is kept, also if no handler takes its type. A handler that takes the type is called
    /// as for any message. Replies are deleted up to 15 minutes late.
    pub fn keep_replies(mut self, window: Duration) -> Self {
        self.keep_replies = Some(window);
        self.takes_commands()
    }

    fn takes_commands(mut self) -> Self {
        self.topology.own_exchange = Some(recipient::exchange(&self.name));
        self
    }
}
