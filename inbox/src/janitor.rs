//! Forgetting ids beyond the dedup window, and finding parked deliveries that nobody releases.

use std::{collections::HashSet, sync::Arc, time::Duration};

use outbox::link::Link;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    dedup::Window,
    engine::Engine,
    events,
    sql::{
        self,
        processed::{Holds, Leaf},
    },
    transaction::{within, within_time},
};

/// Between looks for orphans.
const SWEEP: Duration = Duration::from_secs(15);

/// Between looks for ids beyond the window.
const EXPIRE: Duration = Duration::from_mins(15);

/// Most hashed ids deleted by one statement.
const BATCH: i64 = 1_000;

/// Keeps the inbox's tables in order.
#[derive(Debug)]
pub(crate) struct Janitor {
    engine: Arc<Engine>,
}

impl Janitor {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Works until `stop`, which interrupts what takes long: another time will do.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work()).await;
    }

    async fn work(self) {
        let mut expired: Option<Instant> = None;
        loop {
            if let Err(error) = within(self.sweep()).await {
                let doing = "looking for parked messages that nobody releases";
                self.engine.emit_unavailable(doing, &error);
            }
            if expired.is_none_or(|at| at.elapsed() >= EXPIRE) {
                expired = Some(Instant::now());
                if let Err(error) = within_time(EXPIRE, self.expire()).await {
                    let doing = "forgetting ids beyond the dedup window";
                    self.engine.emit_unavailable(doing, &error);
                }
            }
            sleep(SWEEP).await;
        }
    }

    async fn sweep(&self) -> Result<(), sqlx::Error> {
        let settings = &self.engine.settings;
        let consumer = self.engine.consumer();
        settings.durability.look_again();
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let rows = sql::parked::release_orphans(&mut link, consumer).await?;
        tx.commit().await?;
        if rows > 0 {
            events::OrphansReleased { consumer, rows }.emit();
        }
        Ok(())
    }

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
        for leaf in expired {
            self.truncate(leaf, for_all.contains(&leaf.slot())).await?;
        }
        Ok(())
    }

    /// Deletes a batch of hashed ids; returns how many there were.
    async fn expire_other(&self) -> Result<u64, sqlx::Error> {
        let settings = &self.engine.settings;
        let age = settings.window.remembered();
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let consumer = &settings.consumer;
        let deleted = sql::processed::expire_other(&mut link, consumer, age, BATCH).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Empties a leaf, unless a transaction is working on it: then next time.
    async fn truncate(&self, leaf: Leaf, for_all: bool) -> Result<(), sqlx::Error> {
        let settings = &self.engine.settings;
        let mut tx = settings.begin().await?;
        match empty(
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
                match sql::state(&error).as_deref() {
                    Some("55P03") => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }
}

/// Looks again under the lock: another consumer may have recorded an id since.
async fn empty(
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
    let may = may_truncate(holds, for_all);
    if may {
        leaf.truncate(link).await?;
    }
    Ok(may)
}

/// Consumers that share a database may have other windows; a leaf with their ids waits until it is
/// outside of every window that a consumer can have.
const fn may_truncate(holds: Holds, for_all: bool) -> bool {
    match holds {
        Holds::Nothing => false,
        Holds::OwnOnly => true,
        Holds::Others => for_all,
    }
}
