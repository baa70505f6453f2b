//! Waits for the exchange, which a relay or an administrator declares.
//!
//! A consumer does not need the right to declare the exchange. That right would also let the user delete the
//! exchange, or declare another one of the same name that routes no messages.

use std::time::Duration;

use amqp::{Channel, Connection};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{answer::answer, refusal::Failure, topology::Topology};
use crate::{events, status::Tracker};

/// Time between two checks. Short, because the relay that declares the exchange publishes at once, and parks
/// messages to which no queue is bound.
const POLL: Duration = Duration::from_secs(1);

/// Time between two reports that the exchange is missing.
const REPORT: Duration = Duration::from_mins(1);

/// Waits until the exchange exists; returns the channel that found it, or `None` if the consumer is stopped
/// first.
pub(super) async fn wait(
    topology: &Topology,
    (consumer, tracker): (&str, &Tracker),
    connection: &Connection,
    stop: &CancellationToken,
) -> Result<Option<Channel>, Failure> {
    let mut reported: Option<Instant> = None;
    loop {
        let channel = answer("opening a channel", connection.open_channel()).await?;
        match topology.declare_exchange(&channel).await {
            Ok(()) => return Ok(Some(channel)),
            Err(Failure::NoExchange { exchange, .. }) => {
                tracker.waiting_for_exchange(&exchange);
                if reported.is_none_or(|at| at.elapsed() >= REPORT) {
                    let exchange = &exchange;
                    events::NoExchange { consumer, exchange }.emit();
                    reported = Some(Instant::now());
                }
            }
            Err(failure) => return Err(failure),
        }
        if stop.run_until_cancelled(sleep(POLL)).await.is_none() {
            return Ok(None);
        }
    }
}
