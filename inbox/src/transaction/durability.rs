//! Commits that are on disk when they return.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use outbox::link::Link;

use crate::sql;

/// What sessions are like.
const UNKNOWN: u8 = 0;
const DURABLE: u8 = 1;
const NOT_DURABLE: u8 = 2;

/// Makes commits durable where the database does without (`synchronous_commit = off`): a message is acknowledged
/// after its commit, and never comes again.
///
/// Whether that is so is asked once, and by the janitor again and again: in each transaction it would cost every
/// delivery some percent of the server's time.
#[derive(Debug, Default)]
pub(crate) struct Durability(AtomicU8);

impl Durability {
    /// Sees to a transaction that has just begun.
    pub(super) async fn see_to(&self, link: &mut Link<'_>) -> Result<(), sqlx::Error> {
        // Read once: it may be forgotten at any moment.
        let mut known = self.0.load(Relaxed);
        if known == UNKNOWN {
            let durable = sql::session::is_durable(link).await?;
            known = if durable { DURABLE } else { NOT_DURABLE };
            self.0.store(known, Relaxed);
        }
        if known == NOT_DURABLE {
            sql::session::make_durable(link).await?;
        }
        Ok(())
    }

    /// Lets the next transaction look what sessions are like: somebody may have changed it.
    pub(crate) fn look_again(&self) {
        self.0.store(UNKNOWN, Relaxed);
    }
}
