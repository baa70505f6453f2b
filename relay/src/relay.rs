//! The relay as a whole: stands by, becomes active, loses the session and begins again.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::RelayError,
    events,
    health::{Health, Reporter, Role},
    reconnect::Reconnect,
    session, standby,
    store::{LANE, LeaseConnection},
    transport::{RabbitMq, Transport},
};

/// Age from which an attempt, standing by included, counts as stable: after its end, the wait before the next attempt is
/// the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Publishes the messages of an outbox to a broker.
///
/// Of several relays for one outbox, one is active; the others stand by and take over.
///
/// ```no_run
/// # async fn example() -> Result<(), relay::RelayError> {
/// let mut config = relay::Config::default();
/// config.database.url = Some("postgres://relay:secret@localhost/shop".into());
/// config.amqp.url = Some("amqp://relay:secret@localhost".into());
/// relay::Relay::new(config).run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    config: Config,
    reporter: Reporter,
}

impl Relay {
    /// Makes a relay without connecting.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            reporter: Reporter::new(),
        }
    }

    /// Returns a receiver of the relay's current health.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.reporter.subscribe()
    }

    /// Runs until `shutdown` completes and everything in flight is confirmed and recorded.
    ///
    /// Unreachable servers are retried for ever, so services may start in any order.
    ///
    /// # Errors
    /// Returns errors that only a person can resolve: a wrong configuration, schema or credential, a pooler between
    /// relay and database, or a checkpoint of another database.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), RelayError> {
        self.config.read_url_files()?;
        self.config.check()?;
        let transport = RabbitMq::new(&self.config)?;
        self.run_over(transport, shutdown).await
    }

    /// As [`Relay::run`], over another transport than RabbitMQ.
    ///
    /// # Errors
    /// As [`Relay::run`], but the configuration is not checked, and files that hold URLs are not read.
    pub async fn run_over(
        self,
        transport: impl Transport,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RelayError> {
        let stop = CancellationToken::new();
        let work = self.serve(&transport, &stop);
        tokio::pin!(work);
        tokio::select! {
            ended = &mut work => ended,
            () = shutdown => {
                stop.cancel();
                work.await
            }
        }
    }

    async fn serve(
        &self,
        transport: &impl Transport,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let mut attempts = Reconnect::new(STABLE_AFTER);
        while !stop.is_cancelled() {
            let began = Instant::now();
            let Err(lost) = self.run_session(transport, stop).await else {
                return Ok(());
            };
            let was_active = self.reporter.is_active();
            self.reporter.lost(postroom_message::errors::chain(&lost));
            if lost.is_permanent() {
                return Err(lost);
            }
            let retry_in = attempts.failed(began.elapsed());
            events::SessionLost {
                error: &lost,
                was_active,
                retry_in,
            }
            .emit();
            stop.run_until_cancelled(sleep(retry_in)).await;
        }
        Ok(())
    }

    /// Stands by until the lease is free, then is active until the session ends.
    async fn run_session(
        &self,
        transport: &impl Transport,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let connecting = LeaseConnection::connect(&self.config, LANE);
        let Some(lease) = stop.run_until_cancelled(connecting).await else {
            return Ok(());
        };
        let mut lease = lease?;
        let taking = standby::take_lease(&self.config, transport, &mut lease, &self.reporter, stop);
        if !taking.await? {
            return Ok(());
        }
        self.reporter.role(Role::Active);
        events::BecameActive { lane: LANE }.emit();
        let session = session::run(
            &self.config,
            transport.clone(),
            lease,
            LANE,
            &self.reporter,
            stop,
        );
        Box::pin(session).await
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::Relay;
    use crate::{Config, RelayError};

    #[tokio::test]
    async fn a_configuration_made_by_hand_is_checked_too() {
        let mut config = Config::default();
        config.database.url = Some("postgres://relay@localhost:1/shop".into());
        config.amqp.url = Some("amqp://relay@localhost:1".into());
        config.retention.check_interval = Duration::ZERO;
        let refused = Relay::new(config).run(pending()).await;
        let Err(RelayError::Config(refused)) = refused else {
            panic!("{refused:?}");
        };
        assert!(refused.to_string().contains("retention.check_interval"));
    }
}
