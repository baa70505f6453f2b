//! Size limits of a message, checked here before the database and the broker check them.
//!
//! The limits come from AMQP 0-9-1 (a short string holds 255 bytes, section 4.2.5.3; headers must fit one
//! frame) and from RabbitMQ's default largest message since 4.0.

/// Longest topic, key, type or content type, in bytes.
pub const NAME_BYTES: usize = 255;

/// Largest set of headers, in bytes of JSON text.
pub const HEADERS_BYTES: usize = 64 * 1024;

/// Largest payload, in bytes.
pub const PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// Largest number of distinct keys that one call may serialise with locks.
///
/// Each key takes an advisory lock until the transaction ends; a hundred thousand locks would exhaust the
/// lock table that all sessions of the server share.
pub const SERIALIZED_KEYS: usize = 1_000;
