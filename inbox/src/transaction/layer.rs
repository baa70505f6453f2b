//! The tower layer that adds the transaction.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tower_layer::Layer;

use super::{Settings, Transaction};
use crate::dedup::Window;

/// Adds a [`Transaction`] around a service.
///
/// A [`Consumer`](crate::Consumer) already contains this layer. It is public for services that take their
/// messages from elsewhere, and does only the work of a single message. A `Consumer` of the same name does
/// the rest: it deletes ids beyond the dedup window, retries parked messages, and rechecks the durability of
/// commits. If no such `Consumer` runs, `inbox.processed` grows.
#[derive(Debug, Clone)]
pub struct TransactionLayer {
    settings: Arc<Settings>,
}

impl TransactionLayer {
    /// Creates a layer that records messages for `consumer` in the database of `pool`.
    pub fn new(pool: PgPool, consumer: &str) -> Self {
        Self::with_settings(Settings::new(pool, consumer))
    }

    pub(crate) fn with_settings(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// Sets how long the ids of handled messages are kept, and how far a message's time may be ahead of the
    /// database's clock. Defaults to 30 days and 1 day; longer times than 58 days and 2 days are reduced to
    /// these. See [`ConsumerBuilder::dedup_window`](crate::ConsumerBuilder::dedup_window).
    #[must_use]
    pub fn window(self, length: Duration, skew: Duration) -> Self {
        let window = Window::new(
            length.min(crate::dedup::MAX_WINDOW),
            skew.min(crate::dedup::MAX_SKEW),
        );
        let mut settings = Arc::unwrap_or_clone(self.settings);
        settings.window = window;
        Self::with_settings(settings)
    }

    /// Sets whether statements are prepared. Defaults to `true`; see
    /// [`ConsumerBuilder::prepared_statements`](crate::ConsumerBuilder::prepared_statements).
    #[must_use]
    pub fn prepared_statements(self, prepared: bool) -> Self {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        settings.prepare_statements(prepared);
        Self::with_settings(settings)
    }

    /// Sets the longest time that a handler may take. Defaults to 30 seconds.
    #[must_use]
    pub fn handler_timeout(self, limit: Duration) -> Self {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        settings.handler_timeout = limit;
        Self::with_settings(settings)
    }
}

impl<S> Layer<S> for TransactionLayer {
    type Service = Transaction<S>;

    fn layer(&self, inner: S) -> Transaction<S> {
        Transaction::new(inner, Arc::clone(&self.settings))
    }
}
