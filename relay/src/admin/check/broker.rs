//! Checks of the broker: it can be reached, and the user has the permissions that a relay needs.

use std::sync::Arc;

use amqp::{Address, Connection};
use relay_core::identity::Identity;

use super::{Finding, fence, note};
use crate::{
    config::Config,
    transport::rabbitmq::{
        CLOSE_TIMEOUT,
        requests::{self, Tried, answered},
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
    check_exchange(config, &address, &connection, findings).await;
    connection.close(CLOSE_TIMEOUT).await;
}

async fn check_exchange(
    config: &Config,
    address: &Address,
    connection: &Connection,
    findings: &mut Vec<Finding>,
) {
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
    let published = async {
        let user_id = config.amqp.user_id.resolve(address.user());
        let tried = requests::try_to_publish(connection, exchange, user_id).await?;
        Ok((user_id, tried))
    };
    // Times out at a broker that is short of memory or disk: it does not answer connections that publish.
    let published = answered("publishing, and taking it back", after, published).await;
    let detail = match &published {
        Ok((None, _)) => "allowed; amqp.user_id is false, so messages name no publisher".to_owned(),
        Ok((Some(user_id), Tried::TopicRefused)) => format!(
            "allowed; the broker has not compared the publisher's name {user_id}, because the user may not write the topic postroom.check"
        ),
        _ => "allowed".to_owned(),
    };
    note(findings, "publishing", published, detail);
}
