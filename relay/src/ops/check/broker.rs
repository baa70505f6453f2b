//! Checks of the broker: it can be reached, and the user has the permissions that a relay needs.

use std::{future::Future, sync::Arc, time::Duration};

use amqp::Connection;
use tokio::time::timeout;

use super::{Finding, fence, note};
use crate::{
    broker_error::BrokerError,
    config::Config,
    identity::Identity,
    transport::rabbitmq::{
        CLOSE_TIMEOUT,
        requests::{self, Tried},
    },
};

pub(super) async fn check(
    config: &Config,
    identity: Option<Identity>,
    findings: &mut Vec<Finding>,
) {
    let Some(url) = note(findings, "broker url", config.amqp_url(), |url| {
        url.to_string()
    }) else {
        return;
    };
    let after = config.amqp.connect_timeout;
    let connecting = requests::connect(url, config.lease.timeout / 2);
    let connected = answered("connecting to the broker", after, connecting).await;
    let detail = |_: &Connection| "reached".to_owned();
    let Some(connection) = note(findings, "broker", connected, detail) else {
        return;
    };
    let connection = Arc::new(connection);
    fence::check(config, &connection, identity, findings).await;
    check_exchange(config, &connection, findings).await;
    connection.close(CLOSE_TIMEOUT).await;
}

async fn check_exchange(config: &Config, connection: &Connection, findings: &mut Vec<Finding>) {
    let after = config.amqp.connect_timeout;
    let exchange = config.amqp.exchange.as_str();
    let declared = async {
        let channel = connection.open_channel().await?;
        requests::declare_exchange(&channel, exchange, !config.amqp.declare_exchange).await
    };
    let declared = answered("declaring the exchange", after, declared).await;
    let detail = |(): &()| {
        if config.amqp.declare_exchange {
            format!("{exchange}, topic, durable")
        } else {
            format!(
                "{exchange} exists; its type is not looked at, for amqp.declare_exchange is false"
            )
        }
    };
    if note(findings, "exchange", declared, detail).is_none() {
        return;
    }
    let Ok(url) = config.amqp_url() else {
        return;
    };
    let published = async {
        let user_id = requests::publisher(url, &config.amqp.user_id)?;
        let tried = requests::try_to_publish(connection, exchange, user_id.as_deref()).await?;
        Ok((user_id, tried))
    };
    // Times out at a broker that is short of memory or disk: it does not answer connections that publish.
    let published = answered("publishing, and taking it back", after, published).await;
    note(
        findings,
        "publishing",
        published,
        |(user_id, tried)| match (user_id, tried) {
            (None, _) => "allowed; amqp.user_id is false, so messages name no publisher".to_owned(),
            (Some(_), Tried::Accepted) => "allowed".to_owned(),
            (Some(user_id), Tried::TopicRefused) => format!(
                "allowed; the broker has not compared the publisher's name {user_id}, because the user may not write the topic postroom.check"
            ),
        },
    );
}

pub(super) async fn answered<T>(
    what: &'static str,
    after: Duration,
    answer: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let answered = timeout(after, answer).await;
    answered.unwrap_or(Err(BrokerError::TimedOut { what, after }))
}
