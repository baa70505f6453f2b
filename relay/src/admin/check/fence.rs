//! Check of the fence: declares the same queue as a relay would, which fails if another connection holds it.

use std::{sync::Arc, time::Duration};

use amqp::Connection;
use postroom_message::errors::chain;
use relay_core::identity::{FENCES, Identity, pattern};
use tokio::time::sleep;

use super::Finding;
use crate::{
    config::Config,
    error::RelayError,
    store::{
        self, DatabaseError, LANE, Purpose,
        holder::{self, LeaseHolder},
    },
    transport::{
        BrokerError,
        rabbitmq::{
            fence::{self, Fence},
            requests::{self, answered},
        },
    },
};

/// Wait before a fence that another connection seems to hold is checked again.
const RECHECK: Duration = Duration::from_secs(1);

/// Result of taking the fence.
#[derive(Debug)]
enum Tried {
    /// The fence was taken and released.
    Free,
    /// The fence belongs to a connection of a node that is down.
    LeftOver,
    /// Another connection holds the fence.
    Held(BrokerError),
}

pub(super) async fn check(
    config: &Config,
    connection: &Arc<Connection>,
    identity: Option<Identity>,
    findings: &mut Vec<Finding>,
) {
    let what = "fence";
    let Some(identity) = identity else {
        let detail = "not tried: its name is made of the database's identity".to_owned();
        findings.push(Finding::new(what, false, detail));
        return;
    };
    let queue = identity.fence(LANE);
    let (ok, mut detail) = match look(config, connection, &queue).await {
        Ok(found) => found,
        Err(error) => (false, chain(&error)),
    };
    if ok && may_declare_others(config, connection).await {
        let pattern = pattern(&queue);
        detail = format!(
            "{detail}; this user may take those of other outboxes too, {pattern} is this one alone"
        );
    }
    findings.push(Finding::new(what, ok, detail));
}

/// Returns `true` if the fence is free or the active relay's, and a description.
async fn look(
    config: &Config,
    connection: &Arc<Connection>,
    queue: &str,
) -> Result<(bool, String), RelayError> {
    let first = look_once(config, connection, queue).await?;
    if first.0 {
        return Ok(first);
    }
    // A relay takes and releases its lease and its fence one after the other.
    sleep(RECHECK).await;
    look_once(config, connection, queue).await
}

async fn look_once(
    config: &Config,
    connection: &Arc<Connection>,
    queue: &str,
) -> Result<(bool, String), RelayError> {
    let after = config.amqp.connect_timeout + fence::LONGEST;
    let tried = answered("taking the fence", after, try_fence(connection, queue)).await?;
    let holder = lease_holder(config).await?;
    Ok(judge(queue, tried, holder.as_ref()))
}

/// Returns `true` if the user may declare the fences of other outboxes too.
async fn may_declare_others(config: &Config, connection: &Connection) -> bool {
    let other = format!("{FENCES}check");
    let asked = requests::may_declare(connection, &other);
    let answer = answered("declaring a queue", config.amqp.connect_timeout, asked).await;
    answer.is_ok()
}

/// Takes the fence and releases it.
async fn try_fence(connection: &Arc<Connection>, queue: &str) -> Result<Tried, BrokerError> {
    match Fence::take(connection, queue).await {
        Ok(fence) => Ok(if fence.release().await? {
            Tried::Free
        } else {
            Tried::LeftOver
        }),
        Err(error @ BrokerError::Fenced { .. }) => Ok(Tried::Held(error)),
        Err(error) => Err(error),
    }
}

async fn lease_holder(config: &Config) -> Result<Option<LeaseHolder>, RelayError> {
    let mut connection = store::connect(config, Purpose::Command, "postroom-relay check").await?;
    let holders = holder::lease_holders(&mut connection, LANE).await;
    let mut relays = holders.map_err(DatabaseError::from)?.into_iter();
    Ok(relays.find(|holder| holder.problem().is_none()))
}

/// Compares the holder of the fence with that of the lease.
fn judge(queue: &str, tried: Tried, holder: Option<&LeaseHolder>) -> (bool, String) {
    match (tried, holder) {
        (Tried::Free, None) => (true, format!("{queue} is free, and may be declared")),
        (Tried::Free, Some(holder)) => (
            true,
            format!(
                "{queue} is free, although {} holds the lease: is it connected to this broker?",
                holder.name()
            ),
        ),
        (Tried::LeftOver, _) => (
            true,
            format!("{queue} was left over by a node that is down; a relay goes on without"),
        ),
        (Tried::Held(_), Some(holder)) if !holder.is_fenced() => (
            true,
            format!("{queue} is held, and {} holds the lease", holder.name()),
        ),
        (Tried::Held(error), Some(holder)) => (
            false,
            format!(
                "taken by somebody else than {}, which holds the lease: {}",
                holder.name(),
                chain(&error)
            ),
        ),
        (Tried::Held(error), None) => (
            false,
            format!(
                "taken by somebody else, for no relay holds the lease: {}",
                chain(&error)
            ),
        ),
    }
}
