//! Why a message could not be published.

use chrono::{DateTime, Utc};

use crate::{InvalidName, limits::SERIALIZED_KEYS};

/// Why publishing failed. Nothing was written.
///
/// After [`PublishError::Database`] the transaction is aborted, as after any failed statement.
/// The other errors are found before the database is asked, and leave the transaction as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A topic, key or type cannot be carried.
    #[error("publishing a message: {0}")]
    Name(InvalidName),

    /// A content type cannot be carried.
    #[error(
        "publishing a message: content type {0:?} must have 1 to 255 bytes without control characters"
    )]
    ContentType(String),

    /// A header cannot be carried.
    #[error("publishing a message: header {name:?} {problem}")]
    Header {
        /// Name of the header.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A field is larger than the broker carries.
    #[error(
        "publishing a message: {field} of {bytes} bytes, the limit is {limit}; keep large data elsewhere and publish a reference to it"
    )]
    TooLarge {
        /// `payload`, `headers` or `correlation id`.
        field: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The largest size in bytes.
        limit: usize,
    },

    /// A time lies outside of the years 1 to 9999.
    #[error(
        "publishing a message: {field} is {time}, no time of the years 1 to 9999; leave it unset for a message that goes at once or never expires"
    )]
    Time {
        /// `deliver_after` or `expires_at`.
        field: &'static str,
        /// The time.
        time: DateTime<Utc>,
    },

    /// The event could not be turned into JSON.
    #[error("publishing a message: the event does not serialise to JSON")]
    Serialize(#[source] serde_json::Error),

    /// More keys asked for a lock than one call may take.
    #[error(
        "publishing messages: {0} distinct keys ask to be serialised, at most {SERIALIZED_KEYS} in one call; publish in smaller calls, or lock rows of your own"
    )]
    TooManySerializedKeys(usize),

    /// No transaction is open, and statements that are not prepared need one.
    #[error(
        "publishing a message: no transaction is open on the connection, and an outbox without prepared statements needs one; begin it first"
    )]
    NoTransaction,

    /// The database refused or could not be reached.
    #[error("publishing a message: the database did not take it")]
    Database(#[from] sqlx::Error),
}

// Its text stands in the error's: as a source, too, it would be shown twice.
impl From<InvalidName> for PublishError {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}
