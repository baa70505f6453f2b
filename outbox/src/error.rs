//! Errors of publishing.

use chrono::{DateTime, Utc};

use postroom_message::{InvalidHeader, InvalidName, limits::SERIALIZED_KEYS};

/// An error of publishing. No message was written.
///
/// After [`PublishError::Database`] the transaction is aborted, as after any failed statement. All other
/// errors occur before a message is sent to the database, so the transaction can still be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A topic, key or type is empty, too long, or holds a forbidden character.
    #[error("publishing a message: {0}")]
    Name(InvalidName),

    /// A content type is empty, too long, or holds control characters.
    #[error(
        "publishing a message: content type {0:?} must have 1 to 255 bytes without control characters"
    )]
    ContentType(String),

    /// A header's name or value cannot be stored or sent.
    #[error("publishing a message: header {name:?} {problem}")]
    Header {
        /// Name of the header.
        name: String,
        /// The rule that the header breaks.
        problem: &'static str,
    },

    /// A field is larger than its limit.
    #[error(
        "publishing a message: {field} of {bytes} bytes, the limit is {limit}; keep large data elsewhere and publish a reference to it"
    )]
    TooLarge {
        /// The field: `payload`, `headers` or `correlation id`.
        field: &'static str,
        /// Actual size in bytes.
        bytes: usize,
        /// Largest allowed size in bytes.
        limit: usize,
    },

    /// A time lies outside the years 1 to 9999.
    #[error(
        "publishing a message: {field} is {time}, no time of the years 1 to 9999; leave it unset for a message that goes at once or never expires"
    )]
    Time {
        /// The field: `deliver_after` or `expires_at`.
        field: &'static str,
        /// The refused time.
        time: DateTime<Utc>,
    },

    /// The event does not serialise to JSON.
    #[error("publishing a message: the event does not serialise to JSON")]
    Serialize(#[source] serde_json::Error),

    /// More distinct keys ask for a lock than one call may take.
    #[error(
        "publishing messages: {0} distinct keys ask to be serialised, at most {SERIALIZED_KEYS} in one call; publish in smaller calls, or lock rows of your own"
    )]
    TooManySerializedKeys(usize),

    /// No transaction is open, although unprepared statements need one.
    #[error(
        "publishing a message: no transaction is open on the connection, and an outbox without prepared statements needs one; begin it first"
    )]
    NoTransaction,

    /// The database refused the statement or could not be reached.
    #[error("publishing a message: the database did not take it")]
    Database(#[from] sqlx::Error),
}

// Not a `#[from]` source: the text of the name's error is already part of this error's text, and would be
// shown twice.
impl From<InvalidName> for PublishError {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}

impl From<InvalidHeader> for PublishError {
    fn from(invalid: InvalidHeader) -> Self {
        Self::Header {
            name: invalid.name,
            problem: invalid.problem,
        }
    }
}
