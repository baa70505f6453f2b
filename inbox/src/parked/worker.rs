//! The workers that retry parked deliveries.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use postroom_message::Backoff;

use crate::parked_row;
use crate::{
    Delivery, Outcome, Reason,
    decision::{ErrorClass, Failed, LONGEST, Limits, Next, ParkDecision, Progress},
    engine::Engine,
    handler::Knowledge,
    sql::{
        self,
        parked::{Claimed, Leases, Takes},
    },
    transaction::{WorkerConnection, admit, reply_with_fault, with_answer_timeout},
};

/// Waits between queries for due rows, while there are none.
const IDLE: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// First and longest lease of a row whose handler may have ended the process. The first is short, since most
/// messages that were in the process when it ended did not cause its end; the lease grows with each attempt.
const CRASHED_LEASE: Duration = Duration::from_secs(10);
const CRASHED_LEASE_LONGEST: Duration = Duration::from_mins(2);

/// Retries parked deliveries when they are due, one at a time.
///
/// Each process of a consumer has one or more workers. They share the rows: a claim skips rows that another
/// worker has claimed.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) engine: Arc<Engine>,
    pub(super) takes: Takes,
}

impl Worker {
    /// Creates a worker. Only one worker of a process has `crashed` set: it also takes deliveries that may
    /// end the process, so that these run one at a time.
    pub(crate) fn new(engine: Arc<Engine>, crashed: bool) -> Self {
        let known = engine.router.newest();
        let (types, newest) = known
            .map(|(name, newest)| (name, i64::from(newest)))
            .unzip();
        let takes = Takes {
            crashed,
            types,
            newest,
            unhandled: if engine.router.has_fallback() {
                Duration::ZERO
            } else {
                engine.limits.max_unhandled.min(LONGEST)
            },
        };
        Self { engine, takes }
    }

    /// Runs until `stop` is cancelled, and finishes the current attempt.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut idle, mut woken) = (0_u32, None);
        while !stop.is_cancelled() {
            let claimed = async {
                self.wake(&mut woken).await?;
                self.claim().await
            };
            let wait = match claimed.await {
                Ok(Some(claimed)) => {
                    idle = 0;
                    self.run_claimed(claimed, &stop).await;
                    continue;
                }
                Ok(None) => {
                    self.engine.tracker.database_works();
                    IDLE.wait(idle.saturating_add(1))
                }
                Err(error) => {
                    let doing = "looking for parked messages that are due";
                    self.engine.emit_unavailable(doing, &error);
                    self.engine.limits.outage.wait(idle.saturating_add(1))
                }
            };
            idle += 1;
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Claims a due row, if there is one.
    async fn claim(&self) -> Result<Option<Claimed>, sqlx::Error> {
        let settings = &self.engine.settings;
        let leases = Leases {
            usual: settings.lease(),
            crashed: CRASHED_LEASE,
            crashed_longest: CRASHED_LEASE_LONGEST,
            crashes: i32::try_from(self.engine.limits.max_crashes).unwrap_or(i32::MAX),
        };
        with_answer_timeout(async {
            let mut tx = settings.begin().await?;
            let mut link = settings.link(&mut tx);
            let claim = sql::parked::claim(&mut link, &settings.consumer, leases, &self.takes);
            match claim.await {
                Ok(claimed) => {
                    tx.commit().await?;
                    Ok(claimed)
                }
                Err(error) => {
                    let _ = sql::session::end_unusable(&mut link, &error).await;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Runs a claimed delivery, and parks it again if it was not handled.
    async fn run_claimed(&self, claimed: Claimed, stop: &CancellationToken) {
        let (id, attempts) = (claimed.id, claimed.attempts);
        let failed = Failed {
            attempts: attempts.max(0) as u32,
            age: Duration::from_secs_f64(claimed.age.max(0.0)),
            in_order: claimed.holds_key,
            reason: Reason::Failed,
        };
        let (message, body) = parked_row::message(claimed.message);
        let was_untrusted = Reason::from_name(&claimed.reason) == Some(Reason::Untrusted);
        let delivery = Delivery::parked(message, body, id, attempts);
        let span = self.engine.span(&delivery);
        async {
            let decision = if was_untrusted {
                self.judge_again(&delivery, id, attempts).await
            } else {
                match self
                    .newer(&delivery, failed)
                    .or_else(|| self.exhausted(failed))
                {
                    Some(decision) => Some(decision),
                    None => self.attempt(&delivery, failed, stop).await,
                }
            };
            if let Some(decision) = decision {
                self.settle(&delivery, id, attempts, &decision, stop).await;
            }
        }
        .instrument(span)
        .await;
    }

    /// Judges a delivery whose publisher was not trusted, and which an operator retries. If the publisher is trusted
    /// now, parks the delivery as if it had just arrived, and returns `None`; else returns the decision to leave it.
    async fn judge_again(
        &self,
        delivery: &Delivery,
        id: i64,
        attempts: i32,
    ) -> Option<ParkDecision> {
        let engine = &self.engine;
        if let Some(decision) = engine.refusal(delivery) {
            return Some(decision);
        }
        let arrived = Delivery::new(delivery.message().clone(), delivery.received_body());
        let in_order = arrived.message().key.is_some();
        let decision = engine.park_without_attempt(&arrived);
        let decision = decision.unwrap_or_else(|| Limits::admitted(in_order));
        match admit(&engine.settings, &arrived, (id, attempts), &decision).await {
            Ok(outcome) => {
                engine.emit_outcome(outcome);
                if decision.is_dead() && matches!(outcome, Outcome::Parked(_)) {
                    engine.emit_dead(&decision);
                }
            }
            // Claimed again when the lease ends.
            Err(error) => engine.emit_unavailable("admitting an untrusted message", &error),
        }
        None
    }

    /// Decides to leave a delivery to another process if its body has a newer version than this process knows. Such a
    /// row is claimed only if it waited behind another one.
    fn newer(&self, delivery: &Delivery, failed: Failed) -> Option<ParkDecision> {
        match self.engine.router.knows(delivery) {
            Knowledge::Newer(newest) => Some(Limits::newer(delivery, newest, failed.in_order)),
            Knowledge::Known | Knowledge::Unhandled => None,
        }
    }

    /// Decides to park a delivery dead if its attempts are used up. Such a row is claimed only if the process
    /// ended during the last attempt, before the result was written.
    fn exhausted(&self, failed: Failed) -> Option<ParkDecision> {
        let limits = &self.engine.limits;
        (failed.attempts > limits.max_attempts).then(|| {
            let crashed = Failed {
                attempts: limits.max_attempts,
                reason: Reason::Crashed,
                ..failed
            };
            let text = "the process ended during its last attempt";
            limits.decision(ErrorClass::Failed, crashed, text.to_owned())
        })
    }

    /// Runs a delivery; returns how to park it again, or `None` if it was handled or `stop` was cancelled.
    async fn attempt(
        &self,
        delivery: &Delivery,
        failed: Failed,
        stop: &CancellationToken,
    ) -> Option<ParkDecision> {
        let mut progress = Progress::parked(failed);
        let mut connection = WorkerConnection::default();
        loop {
            let fault = self.engine.attempt(delivery, &mut connection).await.err()?;
            match progress.next(&self.engine.limits, fault) {
                Next::Again(wait) => {
                    tokio::select! {
                        // The lease expires, and a worker claims the row again.
                        () = stop.cancelled() => return None,
                        () = sleep(wait) => {}
                    }
                }
                Next::Park(decision) => return Some(decision),
            }
        }
    }

    /// Writes how a delivery is parked again, retrying while the database is unavailable, until `stop` is
    /// cancelled.
    async fn settle(
        &self,
        delivery: &Delivery,
        id: i64,
        attempts: i32,
        decision: &ParkDecision,
        stop: &CancellationToken,
    ) {
        let mut tries = 0_u32;
        loop {
            let settled = with_answer_timeout(self.write(delivery, id, attempts, decision)).await;
            match settled {
                Ok(true) => break,
                // The row is gone, or another worker has claimed it.
                Ok(false) => return,
                Err(error) => {
                    let doing = "parking a message again";
                    self.engine.emit_unavailable(doing, &error);
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.engine.limits.outage.wait(tries.saturating_add(1))) => tries += 1,
            }
        }
        if decision.is_dead() {
            self.engine.emit_dead(decision);
        }
    }

    /// Writes the decision; returns `false` if the row is no longer claimed by this worker.
    async fn write(
        &self,
        delivery: &Delivery,
        id: i64,
        attempts: i32,
        decision: &ParkDecision,
    ) -> Result<bool, sqlx::Error> {
        let settings = &self.engine.settings;
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let held = sql::parked::settle(&mut link, id, attempts, decision).await?;
        if held.is_some() {
            reply_with_fault(settings, &mut link, delivery, decision).await?;
        }
        let releases_key = held == Some(true) && !decision.holds_key;
        if let (Some(key), true) = (&delivery.message().key, releases_key) {
            let consumer = &settings.consumer;
            sql::parked::release_next(&mut link, consumer, key).await?;
            if decision.reason == Reason::Unhandled {
                let type_name = delivery.type_name();
                sql::parked::backdate_next(&mut link, consumer, key, type_name).await?;
            }
        }
        tx.commit().await?;
        Ok(held.is_some())
    }
}
