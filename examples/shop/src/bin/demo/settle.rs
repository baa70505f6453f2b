//! Waiting by polling, until everything is ready and until everything has settled.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde::Deserialize;
use shop::terminal::thousands;
use tokio::time::sleep;

use crate::{
    broker::{Broker, QUEUES},
    databases::Service,
    figures::{self, All},
    processes::Processes,
    programs::{Programs, relay_name},
};

/// Wait between two polls.
const PAUSE: Duration = Duration::from_millis(200);

/// Report of the tap.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TapReport {
    pub(crate) distinct: i64,
    pub(crate) repeats: i64,
    pub(crate) redelivered: i64,
    pub(crate) broken_keys: i64,
    pub(crate) first_broken: Option<String>,
}

/// Output of `relay status --json`.
#[derive(Debug, Deserialize)]
struct RelayStatus {
    waiting: i64,
    parked: Vec<ParkedMessages>,
}

#[derive(Debug, Deserialize)]
struct ParkedMessages {
    reason: String,
    messages: i64,
}

/// Polls until nothing is missing any more. Fails at the deadline with the missing items, and at once when
/// a process ends.
pub(crate) async fn until(
    processes: &mut Processes,
    deadline: Duration,
    what: &str,
    mut missing: impl AsyncFnMut(&Processes) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let spinner = ProgressBar::new_spinner().with_message(format!("waiting until {what}"));
    spinner.enable_steady_tick(PAUSE);
    loop {
        processes.check()?;
        let missing = missing(processes).await?;
        let Some(first) = missing.first() else {
            spinner.finish_and_clear();
            return Ok(());
        };
        spinner.set_message(format!("waiting until {what}: {first}"));
        if began.elapsed() > deadline {
            spinner.finish_and_clear();
            bail!(
                "not within {} seconds: {what}; missing: {} (logs: {})",
                deadline.as_secs(),
                missing.join("; "),
                processes.logs().display()
            );
        }
        sleep(PAUSE).await;
    }
}

/// Returns the components that are not ready. A queue that is bound later would not receive earlier
/// messages.
pub(crate) async fn not_ready(
    processes: &Processes,
    broker: &Broker,
    tap_report: &Path,
) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for service in Service::PUBLISHING {
        let name = relay_name(service);
        match processes.health(&name).await {
            Some(health) if health.ready => {}
            Some(health) => missing.push(format!(
                "{name} is {}{}",
                health.role,
                health
                    .problem
                    .map_or(String::new(), |why| format!(", {why}"))
            )),
            None => missing.push(format!("{name} does not answer")),
        }
    }
    for (queue, name) in broker.queues().await?.iter().zip(QUEUES) {
        match queue {
            Some(queue) if queue.consumers > 0 => {}
            Some(_) => missing.push(format!("queue {name} has no consumer")),
            None => missing.push(format!("queue {name} does not exist")),
        }
    }
    if !tap_report.exists() {
        missing.push("the tap has not bound its queue".to_owned());
    }
    Ok(missing)
}

/// Returns the effects and messages that have not arrived yet.
pub(crate) async fn unsettled(
    processes: &Processes,
    programs: Programs<'_>,
    tap_report: &Path,
) -> anyhow::Result<Vec<String>> {
    let figures = figures::read(programs.databases).await?;
    let mut missing = behind(&figures);
    let tap = read_tap(tap_report)?;
    if tap.distinct < figures.events() {
        missing.push(format!(
            "the tap saw {} of {} events",
            thousands(tap.distinct),
            thousands(figures.events())
        ));
    }
    if !missing.is_empty() {
        return Ok(missing);
    }
    for service in Service::PUBLISHING {
        let output = processes.output(&programs.relay_status(service)?).await?;
        let status: RelayStatus = serde_json::from_slice(&output)
            .with_context(|| format!("reading the status of {}", relay_name(service)))?;
        if status.waiting > 0 {
            let waiting = thousands(status.waiting);
            missing.push(format!(
                "{waiting} messages wait in the outbox of {}",
                service.name()
            ));
        }
        for parked in status.parked {
            missing.push(format!(
                "{} messages are parked in the outbox of {} ({})",
                thousands(parked.messages),
                service.name(),
                parked.reason
            ));
        }
    }
    // A failure to read the queues counts as unsettled, so that they are read again.
    let queues = programs.broker.queues().await;
    let queues = queues.map_err(|error| missing.push(format!("{error:#}")));
    for (queue, name) in queues.unwrap_or_default().iter().zip(QUEUES) {
        let messages = queue.map_or(0, |queue| queue.messages);
        if messages > 0 {
            missing.push(format!("{messages} messages wait in queue {name}"));
        }
    }
    Ok(missing)
}

/// Returns the figures that have not reached the number of placed orders, and the parked deliveries.
fn behind(figures: &All) -> Vec<String> {
    let placed = figures.orders.totals.orders;
    let mut missing = Vec::new();
    for (what, count) in [
        ("invoices", figures.billing.totals.orders),
        ("orders in loyalty", figures.loyalty.totals.orders),
        ("orders marked invoiced", figures.orders.own),
        ("shipments", figures.shipping.totals.orders),
    ] {
        if count < placed {
            missing.push(format!(
                "{what}: {} of {}",
                thousands(count),
                thousands(placed)
            ));
        }
    }
    if figures.orders.uninsured > 0 {
        let uninsured = thousands(figures.orders.uninsured);
        missing.push(format!("{uninsured} valuable orders are not insured"));
    }
    for (service, figures) in Service::ALL.iter().zip(figures.each()) {
        for parked in &figures.parked {
            let error = parked.error.as_deref().unwrap_or("no error recorded");
            missing.push(format!(
                "{} deliveries are parked in the inbox of {} ({}: {error})",
                thousands(parked.deliveries),
                service.name(),
                parked.reason
            ));
        }
    }
    missing
}

/// Reads the tap's current report.
pub(crate) fn read_tap(report: &Path) -> anyhow::Result<TapReport> {
    let text = fs::read(report).with_context(|| format!("reading {}", report.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", report.display()))
}
