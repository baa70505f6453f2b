//! Standing by: waiting for the lease, and knowing that it could be put to use.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{BrokerError, requests},
    config::Config,
    error::{self, RelayError},
    events,
    health::{Reporter, Role},
    lease::{LANE, LeaseConnection},
};

/// From one visit at the broker to the next.
const VISITS: Duration = Duration::from_mins(1);

/// Waits until the lease is taken; false if `stop` comes first.
pub(crate) async fn take_lease(
    config: &Config,
    lease: &mut LeaseConnection,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<bool, RelayError> {
    let mut visiting = None;
    // Tried again and again rather than waited for: a waiting statement would hold a snapshot,
    // and with it back vacuum, for as long as this relay stands by.
    loop {
        let trying = stop.run_until_cancelled(lease.try_take()).await;
        match trying.transpose()? {
            None => return Ok(false),
            Some(true) => return Ok(true),
            Some(false) => {}
        }
        visiting.get_or_insert_with(|| {
            reporter.role(Role::Standby);
            events::StandingBy { lane: LANE }.emit();
            let over = CancellationToken::new();
            // Of its own, and never dropped midway: lapin may keep a connection that is half made.
            tokio::spawn(visit_again_and_again(
                config.clone(),
                reporter.clone(),
                over.clone(),
            ));
            over.drop_guard()
        });
        let wait = config.lease.timeout / 20;
        if stop.run_until_cancelled(sleep(wait)).await.is_none() {
            return Ok(false);
        }
    }
}

/// Connects to the broker now and then. A password that was changed would be found at the take-over only, when
/// nobody else publishes.
async fn visit_again_and_again(config: Config, reporter: Reporter, over: CancellationToken) {
    let mut told = None;
    loop {
        let visited = visit(&config).await;
        if over.is_cancelled() {
            return;
        }
        let is_refused = visited.as_ref().is_err_and(BrokerError::is_permanent);
        let problem = visited.err().map(|error| error::chain(&error));
        if problem != told {
            if let Some(problem) = &problem {
                events::VisitFailed { problem }.emit();
            }
            reporter.visited(is_refused, problem.clone());
            told = problem;
        }
        if over.run_until_cancelled(sleep(VISITS)).await.is_none() {
            return;
        }
    }
}

async fn visit(config: &Config) -> Result<(), BrokerError> {
    let Ok(url) = config.amqp_url() else {
        return Ok(());
    };
    requests::visit(url, config.lease.timeout / 2, config.amqp.connect_timeout).await
}
