//! The trial whether the broker knows the connection's user by the name that messages carry.

use std::{sync::Arc, time::Duration};

use amqp::Connection;
use tokio::time::sleep;

use super::requests::try_to_publish;
use crate::transport::BrokerError;

/// Interval between two looks at the connection while the trial has no result.
const LOOK: Duration = Duration::from_millis(20);

/// Tries the user before any message is sent, on a channel of its own. Returns without a result if the broker takes no
/// messages now, or refuses the exchange or the topic of the trial: the first message will show.
///
/// The trial runs in a task until the broker answers: the AMQP client treats a late answer on a dropped channel as an
/// error of the connection.
pub(super) async fn user_id(
    connection: &Arc<Connection>,
    exchange: &str,
    user_id: Arc<str>,
) -> Result<(), BrokerError> {
    let (asked, exchange) = (Arc::clone(connection), exchange.to_owned());
    let trial = async move { try_to_publish(&asked, &exchange, Some(&user_id)).await };
    let mut trial = tokio::spawn(trial);
    loop {
        tokio::select! {
            tried = &mut trial => return match tried {
                Ok(Err(error @ BrokerError::UserId { .. })) => Err(error),
                _ => Ok(()),
            },
            () = sleep(LOOK) => if connection.is_blocked() {
                return Ok(());
            },
        }
    }
}
