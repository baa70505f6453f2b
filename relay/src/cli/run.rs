//! `relay run`.

use std::{process::ExitCode, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use super::{config_args::ConfigArgs, logs};
use crate::{http, relay::Relay};

/// Interval between compactions of the metrics' samples.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn run(source: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    logs::init(&config.log)?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    crate::events::register();
    tokio::spawn(run_upkeep(metrics.clone()));
    info!(
        version = env!("CARGO_PKG_VERSION"),
        database = %config.database_url()?,
        broker = %config.amqp_url()?,
        exchange = %config.amqp.exchange,
        "starting"
    );
    for problem in ConfigArgs::unknown_variables() {
        warn!("{problem}");
    }
    let (stop, shutdown) = oneshot::channel();
    watch_signals(stop)?;
    let listen = config.admin.listen;
    let relay = Relay::new(config);
    let serving = http::serve(listen, relay.health(), metrics).await?;
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

/// Compacts the samples of histograms at intervals. Without it, all samples would be kept until a scrape,
/// which may never come, and be compacted during the first one.
async fn run_upkeep(metrics: PrometheusHandle) {
    loop {
        sleep(UPKEEP_INTERVAL).await;
        metrics.run_upkeep();
    }
}

/// Requests a graceful stop at the first signal, and ends the process at the second.
fn watch_signals(stop: oneshot::Sender<()>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut signalled = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::spawn(async move {
        signalled().await;
        // Fails if the relay has ended already.
        let _ = stop.send(());
        signalled().await;
        std::process::exit(130)
    });
    Ok(())
}
