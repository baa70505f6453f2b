//! The broker: reached, and the user may do what it must.

use std::{future::Future, time::Duration};

use lapin::Connection;
use tokio::time::timeout;

use super::{Finding, note};
use crate::{
    broker::{BrokerError, requests},
    config::Config,
    identity,
};

pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) {
    let Some(url) = note(findings, "broker url", config.amqp_url(), |url| {
        url.to_string()
    }) else {
        return;
    };
    let after = config.amqp.connect_timeout;
    let connecting = requests::connect(url, config.lease.timeout / 2);
    let connected = answered("connecting to the broker", after, connecting).await;
    let told = |_: &Connection| "reached".to_owned();
    let Some(connection) = note(findings, "broker", connected, told) else {
        return;
    };
    let fence = async {
        let channel = requests::channel(&connection).await?;
        // The fence itself may be a relay's.
        let queue = format!("{}check.{}", identity::FENCES, std::process::id());
        requests::take_fence(&channel, &queue).await
    };
    let fence = answered("declaring a queue", after, fence).await;
    note(findings, "fence", fence, |()| {
        format!("queues {}* may be declared", identity::FENCES)
    });
    let exchange = config.amqp.exchange.as_str();
    let declared = async {
        let channel = requests::channel(&connection).await?;
        requests::declare_exchange(&channel, exchange, !config.amqp.declare_exchange).await
    };
    let declared = answered("declaring the exchange", after, declared).await;
    let told = |(): &()| format!("{exchange}, topic, durable");
    if note(findings, "exchange", declared, told).is_none() {
        return;
    }
    let published = requests::try_to_publish(&connection, exchange);
    // A broker that is short of memory or disk answers nobody who publishes.
    let published = answered("publishing, and taking it back", after, published).await;
    note(findings, "publishing", published, |()| "allowed".to_owned());
}

async fn answered<T>(
    what: &'static str,
    after: Duration,
    answer: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let answered = timeout(after, answer).await;
    answered.unwrap_or(Err(BrokerError::TimedOut { what, after }))
}
