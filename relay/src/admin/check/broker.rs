//! Checks of the broker: it can be reached, and the user has the permissions that a relay needs.

use std::sync::Arc;

use amqp::Connection;
use relay_core::identity::Identity;

use super::{Finding, fence, note};
use crate::{
    config::Config,
    transport::rabbitmq::{
        CLOSE_TIMEOUT,
        requests::{self, answered},
    },
};

pub(super) async fn check(
    config: &Config,
    identity: Option<Identity>,
    findings: &mut Vec<Finding>,
) {
    let url = config.amqp_url();
    let shown = url.as_ref().map(ToString::to_string).unwrap_or_default();
    let Some(url) = note(findings, "broker url", url, shown) else {
        return;
    };
    let after = config.amqp.connect_timeout;
    let address = match requests::address(config) {
        Ok(address) => address,
        Err(error) => {
            note(findings, "broker", Err::<(), _>(error), "");
            return;
        }
    };
    let connecting = requests::connect(&address, url, config.lease.timeout / 2);
    let connected = answered("connecting to the broker", after, connecting).await;
    let Some(connection) = note(findings, "broker", connected, "reached") else {
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
    let detail = if config.amqp.declare_exchange {
        format!("{exchange}, topic, durable")
    } else {
        format!("{exchange} exists; its type is not looked at, for amqp.declare_exchange is false")
    };
    if note(findings, "exchange", declared, detail).is_none() {
        return;
    }
    let published = requests::try_to_publish(connection, exchange);
    // Times out at a broker that is short of memory or disk: it does not answer connections that publish.
    let published = answered("publishing, and taking it back", after, published).await;
    note(findings, "publishing", published, "allowed");
}
