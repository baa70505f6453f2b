//! Errors of connections and channels.

use std::io;

use crate::Refusal;

/// Error of a connection or of one of its channels. The text is the AMQP client's.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] lapin::Error);

impl Error {
    /// Returns the refusal that the broker sent; `None` for another error, as when a connection is lost.
    pub fn refusal(&self) -> Option<Refusal> {
        Refusal::of(&self.0)
    }

    /// Returns the client's error.
    pub(crate) const fn client(&self) -> &lapin::Error {
        &self.0
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self(error.into())
    }
}
