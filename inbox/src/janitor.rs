//! Background maintenance of the tables: deletes ids beyond the dedup window and keys whose time is over, releases parked deliveries whose
//! predecessor was deleted by hand, and reports those that wait for a newer release.

use std::{collections::HashSet, sync::Arc, time::Duration};

use statement::Link;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    dedup::Window,
    engine::Engine,
    events, server_error,
    sql::{
        self,
        parked::newer::{self, Waiting},
        processed::{Holds, Leaf},
    },
    transaction::{with_answer_timeout, with_timeout},
};

/// Time between queries for orphans: parked deliveries that wait behind a row that no longer exists. Also between counts
/// of those that wait for a newer release.
const SWEEP: Duration = Duration::from_secs(15);

/// Time between queries for ids beyond the window, and for keys whose time is over.
const EXPIRE: Duration = Duration::from_mins(15);

/// Shortest time between two log lines about deliveries that wait for a newer release.
const LOG: Duration = Duration::from_mins(1);

/// Largest number of hashed ids or keys deleted by one statement.
const BATCH: i64 = 1_000;

/// The background task that maintains the inbox's tables.
#[derive(Debug)]
pub(crate) struct Janitor {
    engine: Arc<Engine>,
}

impl Janitor {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Runs until `stop` is cancelled, which interrupts a statement in progress: the next run repeats it.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(self) {
        let (mut expired, mut logged): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            match with_answer_timeout(self.sweep()).await {
                Ok(waiting) => self.report(&waiting, &mut logged),
                Err(error) => {
                    let doing = "looking for parked messages that nobody releases";
                    self.engine.emit_unavailable(doing, &error);
                }
            }
            if expired.is_none_or(|at| at.elapsed() >= EXPIRE) {
                expired = Some(Instant::now());
                if let Err(error) = with_timeout(EXPIRE, self.expire()).await {
                    let doing = "forgetting ids and keys whose time is over";
                    self.engine.emit_unavailable(doing, &error);
                }
            }
            sleep(SWEEP).await;
        }
    }

    /// Releases orphans, makes transactions recheck the durability of commits, and counts the deliveries that wait for
    /// a newer release.
    async fn sweep(&self) -> Result<Waiting, sqlx::Error> {
        let settings = &self.engine.settings;
        let consumer = self.engine.consumer();
        settings.durability.recheck();
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let rows = sql::parked::release_orphans(&mut link, consumer).await?;
        let waiting = newer::count(&mut link, consumer).await?;
        tx.commit().await?;
        if rows > 0 {
            events::OrphansReleased { consumer, rows }.emit();
        }
        Ok(waiting)
    }

    /// Reports the deliveries that wait for a newer release. `logged` is the time of the last log line.
    fn report(&self, waiting: &Waiting, logged: &mut Option<Instant>) {
        let is_logged = waiting.messages > 0 && logged.is_none_or(|at| at.elapsed() >= LOG);
        if is_logged {
            *logged = Some(Instant::now());
        }
        events::NewerVersions {
            consumer: self.engine.consumer(),
            messages: waiting.messages,
            oldest: Duration::from_secs(waiting.oldest.max(0.0) as u64),
            is_logged,
        }
        .emit();
    }

    /// Deletes the ids beyond the dedup window, and the idempotency keys whose time is over.
    async fn expire(&self) -> Result<(), sqlx::Error> {
        let settings = &self.engine.settings;
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let now = sql::session::now(&mut link).await?;
        let for_all: HashSet<i16> = Window::WIDEST.expired_slots(now).collect();
        let mut expired = Vec::new();
        for slot in settings.window.expired_slots(now) {
            let leaf = Leaf::new(slot);
            let holds = leaf.holds(&mut link, self.engine.consumer()).await?;
            if may_truncate(holds, for_all.contains(&slot)) {
                expired.push(leaf);
            }
        }
        tx.commit().await?;
        while self.expire_other().await? == BATCH as u64 {}
        while self.expire_replies().await? == BATCH as u64 {}
        while self.expire_keys().await? == BATCH as u64 {}
        for leaf in expired {
            self.truncate(leaf, for_all.contains(&leaf.slot())).await?;
        }
        Ok(())
    }

    /// Deletes a batch of replies that were kept for long enough; returns their number.
    async fn expire_replies(&self) -> Result<u64, sqlx::Error> {
        let Some(age) = self.engine.keep_replies else {
            return Ok(0);
        };
        let settings = &self.engine.settings;
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let rows = sql::replies::expire(&mut link, self.engine.consumer(), age, BATCH).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Deletes a batch of hashed ids; returns the number of deleted ids.
    async fn expire_other(&self) -> Result<u64, sqlx::Error> {
        let settings = &self.engine.settings;
        let age = settings.window.retention();
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let consumer = &settings.consumer;
        let deleted = sql::processed::expire_other(&mut link, consumer, age, BATCH).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Deletes a batch of idempotency keys; returns the number of deleted keys.
    async fn expire_keys(&self) -> Result<u64, sqlx::Error> {
        let settings = &self.engine.settings;
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let deleted = sql::idempotency::expire(&mut link, BATCH).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Empties a leaf. If a transaction is working on the leaf, leaves it for the next run.
    async fn truncate(&self, leaf: Leaf, for_all: bool) -> Result<(), sqlx::Error> {
        let settings = &self.engine.settings;
        let mut tx = settings.begin().await?;
        match truncate_if_allowed(
            &mut settings.link(&mut tx),
            leaf,
            &settings.consumer,
            for_all,
        )
        .await
        {
            Ok(true) => {
                tx.commit().await?;
                let (consumer, slot) = (self.engine.consumer(), leaf.slot());
                events::LeafTruncated { consumer, slot }.emit();
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                // lock_not_available
                match server_error::state(&error).as_deref() {
                    Some("55P03") => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }
}

/// Truncates a leaf after a second check under the lock, since another consumer may have recorded an id after
/// the first check. Returns `false` if the leaf was not truncated.
async fn truncate_if_allowed(
    link: &mut Link<'_>,
    leaf: Leaf,
    consumer: &str,
    for_all: bool,
) -> Result<bool, sqlx::Error> {
    if !sql::session::lock_janitor(link).await? {
        return Ok(false);
    }
    leaf.lock(link).await?;
    let holds = leaf.holds(link, consumer).await?;
    let allowed = may_truncate(holds, for_all);
    if allowed {
        leaf.truncate(link).await?;
    }
    Ok(allowed)
}

/// Returns `true` if a leaf outside this consumer's window may be truncated.
///
/// Consumers that share a database may have other windows. A leaf with ids of other consumers may be
/// truncated only if it is outside the longest window that a consumer can have (`for_all`).
const fn may_truncate(holds: Holds, for_all: bool) -> bool {
    match holds {
        Holds::Nothing => false,
        Holds::OwnOnly => true,
        Holds::Others => for_all,
    }
}
