//! Standing by: waiting for the lease, and checking that this relay could use the broker.

use std::time::{Duration, Instant};

use postroom_message::errors::chain;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::RelayError,
    events,
    health::{Reporter, Role},
    store::{LANE, LeaseConnection},
    transport::{BrokerError, Transport},
};

/// Interval between two connection attempts to the broker.
const PROBE_INTERVAL: Duration = Duration::from_mins(1);

/// Waits until the lease is taken, and reports a holder that is no relay. Returns `false` if `stop` is cancelled before.
pub(crate) async fn take_lease(
    config: &Config,
    transport: &impl Transport,
    lease: &mut LeaseConnection,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<bool, RelayError> {
    let mut probing = None;
    let mut holder = HolderWatch::default();
    let Some(fence) = stop.run_until_cancelled(lease.fence()).await else {
        return Ok(false);
    };
    let fence = fence?;
    // The lock is polled rather than waited for: a waiting statement would hold a snapshot, and thereby
    // hold back vacuum, for as long as this relay stands by.
    loop {
        let trying = stop.run_until_cancelled(lease.try_take()).await;
        match trying.transpose()? {
            None => return Ok(false),
            Some(true) => return Ok(true),
            Some(false) => {}
        }
        probing.get_or_insert_with(|| {
            reporter.role(Role::Standby);
            let over = CancellationToken::new();
            // A separate task, which is never cancelled midway: the AMQP client may keep a half-opened connection.
            tokio::spawn(probe_broker(
                transport.clone(),
                fence.clone(),
                reporter.clone(),
                over.clone(),
            ));
            over.drop_guard()
        });
        let looking = holder.look(config.lease.timeout / 4, lease, reporter);
        if stop
            .run_until_cancelled(looking)
            .await
            .transpose()?
            .is_none()
        {
            return Ok(false);
        }
        let wait = config.lease.timeout / 20;
        if stop.run_until_cancelled(sleep(wait)).await.is_none() {
            return Ok(false);
        }
    }
}

/// Last look at the session that holds the lease.
#[derive(Debug, Default)]
struct HolderWatch {
    looked: Option<Instant>,
    /// Problem that was found last.
    problem: Option<String>,
}

impl HolderWatch {
    /// Looks at the holder, once in each interval `every`, and reports a change.
    ///
    /// Any login of the database may take the lock. Without this look, a session that is no relay would keep all relays
    /// standing by, and each of them would be ready.
    async fn look(
        &mut self,
        every: Duration,
        lease: &mut LeaseConnection,
        reporter: &Reporter,
    ) -> Result<(), RelayError> {
        let is_first = self.looked.is_none();
        if self.looked.is_some_and(|looked| looked.elapsed() < every) {
            return Ok(());
        }
        let problem = lease.holder_problem().await?;
        self.looked = Some(Instant::now());
        if !is_first && problem == self.problem {
            return Ok(());
        }
        match &problem {
            Some(problem) => events::LeaseMisheld { problem }.emit(),
            None => events::StandingBy { lane: LANE }.emit(),
        }
        reporter.standby_lease(problem.clone());
        self.problem = problem;
        Ok(())
    }
}

/// Connects to the broker at intervals. Without these attempts, a changed password or a missing permission would
/// be found only at the take-over, when no other relay publishes.
async fn probe_broker(
    transport: impl Transport,
    fence: String,
    reporter: Reporter,
    over: CancellationToken,
) {
    let mut last_problem = None;
    loop {
        let probed = transport.check(&fence).await;
        if over.is_cancelled() {
            return;
        }
        let is_refused = probed.as_ref().is_err_and(BrokerError::is_refusal);
        let problem = probed.err().map(|error| chain(&error));
        if problem != last_problem {
            if let Some(problem) = &problem {
                events::StandbyProbeFailed { problem }.emit();
            }
            reporter.standby_broker(is_refused, problem.clone());
            last_problem = problem;
        }
        let waiting = over.run_until_cancelled(sleep(PROBE_INTERVAL));
        if waiting.await.is_none() {
            return;
        }
    }
}
