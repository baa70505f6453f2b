//! The layer that adds the transaction.

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tower_layer::Layer;

use super::{Settings, Transaction};
use crate::dedup::Window;

/// Adds a [`Transaction`] around a service.
///
/// A [`Consumer`](crate::Consumer) has one already. It is public for services that take their
/// messages from elsewhere, and does what belongs to one message alone. Ids beyond the window are forgotten,
/// parked messages tried again, and sessions whose commits are not durable found out anew, by a `Consumer`
/// of the same name: where none runs, `inbox.processed` grows.
#[derive(Debug, Clone)]
pub struct TransactionLayer {
    settings: Arc<Settings>,
}

impl TransactionLayer {
    /// Makes a layer that records messages for `consumer` in the database of `pool`.
    pub fn new(pool: PgPool, consumer: &str) -> Self {
        Self::with_settings(Settings::new(pool, consumer))
    }

    pub(crate) fn with_settings(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// Sets for how long handled messages are remembered, and how far in the future their ids may
    /// lie. Default to 30 days and 1 day; clamped to 58 days and 2 days, which the ring holds.
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

    /// Sets whether statements are prepared. Defaults to true; see
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
