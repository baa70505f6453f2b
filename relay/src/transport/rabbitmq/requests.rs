//! Requests to the broker before anything is published: the connection, the fence and the exchange.

use std::time::Duration;

use amqp::{Address, Arguments, Channel, Connection, Queue, Refusal, Tls};
use tokio::time::timeout;

use crate::{
    config::{self, Config, Secret},
    transport::BrokerError,
};

/// Reads the broker's URL and the settings of TLS, and checks that they protect the password.
pub(crate) fn address(config: &Config) -> Result<Address, BrokerError> {
    let url = config.amqp_url()?;
    let address: Address = url.expose().parse().map_err(|source| BrokerError::Url {
        url: url.to_string(),
        source,
    })?;
    if address.is_exposed() && !config.amqp.allow_plaintext {
        return Err(BrokerError::Plaintext {
            url: url.to_string(),
        });
    }
    let config::Tls {
        ca,
        certificate,
        key,
        server_name,
    } = config.amqp.tls.clone();
    let mut tls = Tls::new();
    if let Some(file) = ca {
        tls = tls.ca(file);
    }
    if let Some(file) = certificate {
        tls = tls.certificate(file);
    }
    if let Some(file) = key {
        tls = tls.key(file);
    }
    if let Some(name) = server_name {
        tls = tls.server_name(name);
    }
    let address = address.with_tls(tls);
    address.check_tls().map_err(|source| BrokerError::Tls {
        url: url.to_string(),
        source,
    })?;
    Ok(address)
}

/// Connects, with a heartbeat of at most `longest`, which detects a silent broker within about twice that time. The
/// URL may ask for a shorter heartbeat. `url` is for errors.
pub(crate) async fn connect(
    address: &Address,
    url: &Secret,
    longest: Duration,
) -> Result<Connection, BrokerError> {
    let seconds = heartbeat(address.heartbeat(), longest);
    let name = format!("postroom-relay:{}", std::process::id());
    Connection::open(&address.clone().with_heartbeat(seconds), &name)
        .await
        .map_err(|source| match source.refusal() {
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
    let channel = connection.open_channel().await?;
    let arguments = Arguments::from([("x-expires".to_owned(), 0.into())]);
    let asked = Queue::Exclusive(&arguments);
    let Err(source) = channel.declare_queue(queue, asked).await else {
        // A broker other than RabbitMQ may accept the argument.
        return Ok(channel.delete_queue(queue).await?);
    };
    match source.refusal() {
        Some(Refusal::Access) => Err(BrokerError::FenceDenied {
            queue: queue.to_owned(),
            source,
        }),
        Some(_) => Ok(()),
        None => Err(source.into()),
    }
}

/// Waits for the answer to a request for at most `after`.
pub(crate) async fn answered<T>(
    what: &'static str,
    after: Duration,
    answer: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    let answered = timeout(after, answer).await;
    answered.unwrap_or(Err(BrokerError::TimedOut { what, after }))
}

/// Returns the seconds between heartbeats: a frozen relay must lose its fence in time, whatever its URL asks for.
fn heartbeat(asked: Option<u16>, longest: Duration) -> u16 {
    let longest = longest.as_secs().clamp(1, 60) as u16;
    match asked {
        None | Some(0) => longest,
        Some(asked) => asked.min(longest),
    }
}

/// Declares an exclusive queue, which the broker deletes together with the connection.
pub(crate) async fn take_fence(channel: &Channel, queue: &str) -> Result<(), BrokerError> {
    let asked = Arguments::new();
    let declared = channel.declare_queue(queue, Queue::Exclusive(&asked)).await;
    let queue = queue.to_owned();
    declared.map(drop).map_err(|source| match source.refusal() {
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
    let declared = channel.declare_exchange(exchange, passive).await;
    declared.map_err(|source| match source.refusal() {
        Some(Refusal::Inequivalent | Refusal::Precondition) => BrokerError::ExchangeDiffers {
            exchange: exchange.to_owned(),
            source,
        },
        _ => route_down(exchange, source),
    })
}

/// Result of a trial of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// The message was accepted.
    Accepted,
    /// Only the topic of the trial was refused; the user's topics may be allowed. The broker has not compared the
    /// user.
    TopicRefused,
}

/// Publishes a message as `user_id` and rolls it back, to check the user and its permissions. No queue receives the
/// message.
pub(crate) async fn try_to_publish(
    connection: &Connection,
    exchange: &str,
    user_id: Option<&str>,
) -> Result<Tried, BrokerError> {
    let trying = connection.try_to_publish(exchange, "postroom.check", user_id);
    match trying.await {
        Ok(()) => Ok(Tried::Accepted),
        Err(error) if error.refusal() == Some(Refusal::Topic) => Ok(Tried::TopicRefused),
        Err(error) => Err(route_down(exchange, error)),
    }
}

/// Converts an error of a request or a message that names the exchange.
pub(super) fn route_down(exchange: &str, source: amqp::Error) -> BrokerError {
    match source.refusal() {
        Some(Refusal::UserId) => BrokerError::UserId { source },
        Some(Refusal::Access | Refusal::NotFound) => BrokerError::RouteDown {
            exchange: exchange.to_owned(),
            source,
        },
        _ => BrokerError::Lost(source),
    }
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
