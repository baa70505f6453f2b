//! Settings of whose messages are handled.

use crate::{ConsumerBuilder, decision::Trust};

impl<S> ConsumerBuilder<S> {
    /// Sets the publishers whose messages are handled, as names of the broker's users; `*` stands for any characters.
    /// Defaults to everybody who may publish to the queue.
    ///
    /// The broker verifies the user that a message names in the property `user_id`; relays set it. A message of
    /// another user, or without this property, is parked dead with the reason `untrusted`. Such a message is not
    /// recorded, holds no key and calls no handler, so it cannot pass for the true message of its id or key. The first
    /// [`untrusted_kept`](Self::untrusted_kept) of them are kept, and further ones are dropped and counted.
    ///
    /// The true publisher's name is no claim of the message: handlers read it in `ctx.message().user_id`. Without
    /// this setting, whoever may write to the exchange can suppress a message whose id it knows, block a key, and pose
    /// as another service ("Who may publish" in docs/operations.md).
    ///
    /// Replace the relays first: messages of relays of earlier releases name no user.
    ///
    /// # Errors
    /// `build` returns [`BuildError::NobodyTrusted`](crate::BuildError::NobodyTrusted) for an empty list, and
    /// [`BuildError::Publisher`](crate::BuildError::Publisher) for a pattern that is empty, longer than 255 bytes or
    /// holds a control character.
    pub fn trusted_publishers<P: Into<String>>(
        mut self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Self {
        self.trust = Trust::only(patterns.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how many messages of other publishers than the
    /// [`trusted_publishers`](Self::trusted_publishers) are kept in `inbox.parked`. Defaults to 1,000; 0 keeps none.
    ///
    /// Further ones, and those of more than 1 MiB, are acknowledged, logged at most once a minute, and counted in
    /// `postroom_inbox_untrusted_dropped_total`. They are lost: a pattern that fails to match a relay's user loses the
    /// relay's messages.
    pub fn untrusted_kept(mut self, messages: u32) -> Self {
        self.untrusted_kept = messages;
        self
    }
}
