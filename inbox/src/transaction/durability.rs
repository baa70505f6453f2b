//! Durable commits, also where `synchronous_commit` is off.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use statement::Link;

use crate::sql;

/// Values of [`Durability`]: the effect of the sessions' `synchronous_commit`.
const UNKNOWN: u8 = 0;
const DURABLE: u8 = 1;
const NOT_DURABLE: u8 = 2;

/// Makes commits durable if the sessions have `synchronous_commit = off`: the broker never redelivers an
/// acknowledged message, so a crash of the database must not undo its commit.
///
/// The setting is queried once, and again after each [`Durability::recheck`] by the janitor. Querying it in
/// every transaction would cost each delivery some percent of the server's time.
#[derive(Debug, Default)]
pub(crate) struct Durability(AtomicU8);

impl Durability {
    /// Makes the commit of a transaction that has just begun durable.
    pub(super) async fn ensure(&self, link: &mut Link<'_>) -> Result<(), sqlx::Error> {
        // Read once: `recheck` may reset the value at any moment.
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

    /// Makes the next transaction query the setting again, which an operator may have changed.
    pub(crate) fn recheck(&self) {
        self.0.store(UNKNOWN, Relaxed);
    }
}
