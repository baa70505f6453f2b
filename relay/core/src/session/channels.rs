//! Channels of the broker's connection.

/// The channels, and those that wait for a batch.
#[derive(Debug, Default)]
pub(super) struct Channels {
    count: usize,
    idle: Vec<usize>,
    /// `true` while the broker takes no messages.
    blocked: bool,
}

impl Channels {
    /// Records that a connection has opened its channels.
    pub(super) fn opened(&mut self, count: usize) {
        self.count = count;
        self.idle = (0..count).collect();
    }

    /// Records that the connection is lost.
    pub(super) fn lost(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn block(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// Returns `true` if the broker is connected and takes messages.
    pub(super) const fn can_publish(&self) -> bool {
        self.count > 0 && !self.blocked
    }

    /// Returns the channel that takes the next batch.
    pub(super) fn idle(&self) -> Option<usize> {
        self.idle.last().copied().filter(|_| !self.blocked)
    }

    /// Records that the channel took a batch.
    pub(super) fn busy(&mut self) {
        self.idle.pop();
    }

    /// Records that a channel's batch was answered. The channel may be one of a connection that was
    /// lost.
    pub(super) fn done(&mut self, channel: usize) {
        if channel < self.count {
            self.idle.push(channel);
        }
    }
}
