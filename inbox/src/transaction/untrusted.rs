//! The transactions of deliveries whose publisher is, or was, not trusted.

use super::{Settings, park::park_new, with_answer_timeout};
use crate::{Delivery, Outcome, decision::ParkDecision, parked_row, sql::parked};

/// Result of [`keep_untrusted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The delivery is parked.
    Yes,
    /// Enough are parked.
    Full,
}

/// Parks an untrusted delivery unless `keep` are parked. Its id is not recorded: that is the true message's.
pub(crate) async fn keep_untrusted(
    settings: &Settings,
    delivery: &Delivery,
    decision: &ParkDecision,
    keep: u32,
) -> Result<Kept, sqlx::Error> {
    let consumer = &settings.consumer;
    let keeping = async {
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let kept = parked::untrusted(&mut link, consumer, keep.into()).await?;
        if kept >= i64::from(keep) {
            tx.rollback().await?;
            return Ok(Kept::Full);
        }
        parked_row::insert(&mut link, consumer, delivery, decision).await?;
        tx.commit().await?;
        Ok(Kept::Yes)
    };
    with_answer_timeout(keeping).await
}

/// Replaces the claimed row of a delivery, whose publisher is trusted now, by the row that it would have had if it had
/// arrived now: its id is recorded, and it stands behind the parked messages of its key. If the id was recorded
/// meanwhile, the row is only deleted.
pub(crate) async fn admit(
    settings: &Settings,
    delivery: &Delivery,
    (row, attempts): (i64, i32),
    decision: &ParkDecision,
) -> Result<Outcome, sqlx::Error> {
    let mut tx = with_answer_timeout(settings.begin()).await?;
    let mut link = settings.link(&mut tx);
    let locked = parked::lock_claimed(&mut link, row, attempts, None);
    if with_answer_timeout(locked).await?.is_none() {
        return Ok(Outcome::Gone);
    }
    with_answer_timeout(parked::delete(&mut link, row)).await?;
    let outcome = park_new(settings, &mut link, delivery, decision).await?;
    with_answer_timeout(tx.commit()).await?;
    Ok(outcome)
}
