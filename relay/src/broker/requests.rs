//! Requests to the broker before anything is published: the connection, the fence and the exchange.

use std::time::Duration;

use amqp::{Address, Refusal};
use lapin::{
    BasicProperties, Channel, Connection, ErrorKind, ExchangeKind,
    options::{
        BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::{sleep, timeout};

use super::{BrokerError, open::CLOSE_TIMEOUT};
use crate::config::{Amqp, Secret};

/// Connects, with a heartbeat of at most `longest`, which detects a silent broker within about twice that time. The
/// URL may ask for a shorter heartbeat.
pub(crate) async fn connect(url: &Secret, longest: Duration) -> Result<Connection, BrokerError> {
    let address: Address = url
        .expose()
        .parse()
        .map_err(|reason: String| BrokerError::Url {
            url: url.to_string(),
            // The library's error quotes the part that it cannot parse, which may contain a password.
            reason: reason.split(':').next().unwrap_or_default().to_owned(),
        })?;
    let seconds = heartbeat(address.heartbeat(), longest);
    let name = format!("postroom-relay:{}", std::process::id());
    amqp::connect(&address.with_heartbeat(seconds), &name)
        .await
        .map(|connected| connected.connection)
        .map_err(|source| match Refusal::of(&source) {
            Some(Refusal::Access | Refusal::NotAllowed) => BrokerError::Unauthorised {
                url: url.to_string(),
                source,
            },
            _ => BrokerError::Connect {
                url: url.to_string(),
                source,
            },
        })
}

/// Checks that the user may declare a queue, without declaring it: one of the arguments is invalid.
///
/// RabbitMQ checks permissions first, then compares with an existing queue, and checks the arguments last.
pub(crate) async fn may_declare(connection: &Connection, queue: &str) -> Result<(), BrokerError> {
    let channel = channel(connection).await?;
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(0));
    let Err(source) = channel
        .queue_declare(short(queue), options, arguments)
        .await
    else {
        // A broker other than RabbitMQ may accept the argument.
        return delete_queue(&channel, queue).await;
    };
    match Refusal::of(&source) {
        Some(Refusal::Access) => Err(BrokerError::FenceDenied {
            queue: queue.to_owned(),
            source,
        }),
        Some(_) => Ok(()),
        None => Err(BrokerError::Lost(source)),
    }
}

pub(crate) async fn delete_queue(channel: &Channel, queue: &str) -> Result<(), BrokerError> {
    let options = QueueDeleteOptions::default();
    let deleted = channel.queue_delete(short(queue), options).await;
    deleted.map(drop).map_err(BrokerError::Lost)
}

/// Connects, checks the fence and the exchange as a relay that becomes active would, and disconnects. For standbys.
pub(crate) async fn check_requirements(
    url: &Secret,
    amqp: &Amqp,
    fence: &str,
    longest: Duration,
) -> Result<(), BrokerError> {
    let after = amqp.connect_timeout;
    let timed_out = |what| BrokerError::TimedOut { what, after };
    let connecting = timeout(after, connect(url, longest)).await;
    let connection = connecting.unwrap_or_else(|_| Err(timed_out("connecting to the broker")))?;
    let asking = async {
        may_declare(&connection, fence).await?;
        let channel = channel(&connection).await?;
        declare_exchange(&channel, &amqp.exchange, !amqp.declare_exchange).await
    };
    let asked = timeout(after, asking).await;
    // Closed also after an error: lapin may leak a connection on which a request was cancelled.
    drop(timeout(CLOSE_TIMEOUT, close(&connection)).await);
    asked.unwrap_or_else(|_| {
        Err(timed_out(
            "asking the broker for the fence and the exchange",
        ))
    })
}

/// Closes a connection. lapin refuses to while a channel is being closed, as after a refused request.
pub(crate) async fn close(connection: &Connection) {
    while connection.close(200, ShortString::default()).await.is_err()
        && connection.status().connected()
    {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the seconds between heartbeats: a frozen relay must lose its fence in time, whatever its URL asks for.
fn heartbeat(asked: Option<u16>, longest: Duration) -> u16 {
    let longest = longest.as_secs().clamp(1, 60) as u16;
    match asked {
        None | Some(0) => longest,
        Some(asked) => asked.min(longest),
    }
}

pub(crate) async fn channel(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = connection.create_channel().await;
    channel.map_err(BrokerError::Lost)
}

/// Declares an exclusive queue, which the broker deletes together with the connection.
pub(crate) async fn take_fence(channel: &Channel, queue: &str) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declare = channel.queue_declare(short(queue), options, FieldTable::default());
    let queue = queue.to_owned();
    declare
        .await
        .map(drop)
        .map_err(|source| match Refusal::of(&source) {
            // Another connection owns the queue, or it has other properties.
            Some(Refusal::Locked | Refusal::Inequivalent | Refusal::Precondition) => {
                BrokerError::Fenced { queue }
            }
            Some(Refusal::Access) => BrokerError::FenceDenied { queue, source },
            _ => BrokerError::Lost(source),
        })
}

/// Declares the exchange; with `passive`, only checks that it exists.
pub(crate) async fn declare_exchange(
    channel: &Channel,
    exchange: &str,
    passive: bool,
) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        passive,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            short(exchange),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .map_err(|source| match Refusal::of(&source) {
            Some(Refusal::Inequivalent | Refusal::Precondition) => BrokerError::ExchangeDiffers {
                exchange: exchange.to_owned(),
                source,
            },
            _ => route_down(exchange, source),
        })
}

/// Publishes a message and rolls it back, to check the user's permissions. No queue receives the message.
pub(crate) async fn try_to_publish(
    connection: &Connection,
    exchange: &str,
) -> Result<(), BrokerError> {
    loop {
        let channel = channel(connection).await?;
        let Err(error) = publish_and_take_back(&channel, exchange).await else {
            return Ok(());
        };
        match Refusal::of(&error) {
            // The broker's refusal arrived between two requests, and the client did not report it: try again.
            None if matches!(error.kind(), ErrorKind::InvalidChannelState(..)) => {}
            // Only this topic is refused; the user's topics may be allowed.
            Some(Refusal::Topic) => return Ok(()),
            _ => return Err(route_down(exchange, error)),
        }
    }
}

async fn publish_and_take_back(channel: &Channel, exchange: &str) -> Result<(), lapin::Error> {
    channel.tx_select().await?;
    let (topic, options) = (short("postroom.check"), BasicPublishOptions::default());
    let properties = BasicProperties::default();
    channel
        .basic_publish(short(exchange), topic, options, &[], properties)
        .await?;
    channel.tx_rollback().await
}

fn route_down(exchange: &str, source: lapin::Error) -> BrokerError {
    match Refusal::of(&source) {
        Some(Refusal::Access | Refusal::NotFound) => BrokerError::RouteDown {
            exchange: exchange.to_owned(),
            source,
        },
        _ => BrokerError::Lost(source),
    }
}

/// Converts a name, whose length was checked when it was configured. `ShortString::from` would panic for one that is
/// too long.
pub(super) fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::heartbeat;

    #[test]
    fn a_url_cannot_make_the_heartbeat_longer() {
        let longest = Duration::from_secs(5);
        let seconds = [None, Some(0), Some(600), Some(5), Some(2)];
        let taken = seconds.map(|asked| heartbeat(asked, longest));
        assert_eq!(taken, [5, 5, 5, 5, 2]);
        assert_eq!(heartbeat(None, Duration::from_millis(500)), 1);
        assert_eq!(heartbeat(None, Duration::from_hours(1)), 60);
    }
}
