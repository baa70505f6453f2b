//! `relay run`.

use std::{process::ExitCode, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use super::{admin, logs, source::Source};
use crate::relay::Relay;

/// How often samples are folded in.
const UPKEEP: Duration = Duration::from_secs(5);

pub(super) async fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    logs::init(&config.log)?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    crate::events::register();
    tokio::spawn(keep_up(metrics.clone()));
    info!(
        version = env!("CARGO_PKG_VERSION"),
        database = %config.database_url()?,
        broker = %config.amqp_url()?,
        exchange = %config.amqp.exchange,
        "starting"
    );
    for problem in Source::unknown_variables() {
        warn!("{problem}");
    }
    let (asked, shutdown) = oneshot::channel();
    watch_signals(asked)?;
    let listen = config.admin.listen;
    let relay = Relay::new(config);
    let serving = admin::serve(listen, relay.health(), metrics).await?;
    let ended = relay
        .run(async {
            // A dropped sender means that signals are no longer watched: stop as well.
            drop(shutdown.await);
            info!("stopping: confirming what is in flight");
        })
        .await;
    serving.abort();
    ended?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Folds the samples of histograms in again and again: otherwise each waits for a scrape, which may never come,
/// and all of them for the first one.
async fn keep_up(metrics: PrometheusHandle) {
    loop {
        sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// The first signal asks for a graceful stop, the second ends the process.
fn watch_signals(asked: oneshot::Sender<()>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut asked = Some(asked);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match asked.take() {
                Some(asked) => drop(asked.send(())),
                None => std::process::exit(130),
            }
        }
    });
    Ok(())
}
