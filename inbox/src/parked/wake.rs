//! Waking rows that wait for a process that knows their version.

use std::time::{Duration, Instant};

use super::Worker;
use crate::{sql::parked::newer, transaction::with_answer_timeout};

/// Shortest time between two queries for rows whose version this process knows and the one that parked them did not.
const WAKE: Duration = Duration::from_secs(1);

impl Worker {
    /// Makes rows due that wait for a process that knows their version, if this process does. Only one worker of a
    /// process does so, once a second; `woken` is the last time.
    pub(super) async fn wake(&self, woken: &mut Option<Instant>) -> Result<(), sqlx::Error> {
        if !self.takes.crashed || woken.is_some_and(|at: Instant| at.elapsed() < WAKE) {
            return Ok(());
        }
        let settings = &self.engine.settings;
        let rows = with_answer_timeout(async {
            let mut tx = settings.begin().await?;
            let mut link = settings.link(&mut tx);
            let rows = newer::wake(&mut link, &settings.consumer, &self.takes).await?;
            tx.commit().await?;
            Ok(rows)
        });
        // After a full statement there may be more rows.
        let is_all = rows.await? < newer::WAKE_ROWS as u64;
        *woken = is_all.then(Instant::now);
        Ok(())
    }
}
