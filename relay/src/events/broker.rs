//! Events of the broker connection and its confirms.

use std::{collections::BTreeSet, error::Error, sync::Arc, time::Duration};

use metrics::{counter, gauge, histogram};
use tracing::{debug, info, warn};

use crate::health::State;

/// The state of the broker connection changed.
#[derive(Debug)]
pub(crate) struct BrokerState<'a> {
    pub(crate) state: &'a State,
}

impl BrokerState<'_> {
    pub(crate) fn emit(&self) {
        let number = match self.state {
            State::Disconnected { .. } => 0.0,
            State::Connecting => 1.0,
            State::Ready => 2.0,
            State::Blocked { .. } => 3.0,
            State::Unconfirmed => 4.0,
        };
        gauge!("postroom_relay_broker_state").set(number);
        match self.state {
            State::Disconnected {
                reason,
                refused,
                retry_in,
            } => {
                counter!("postroom_relay_broker_losses_total").increment(1);
                let how = if *refused { "refused: " } else { "" };
                warn!(?retry_in, "broker: {how}{reason}");
            }
            State::Connecting => debug!("broker: connecting"),
            State::Ready => info!("broker: ready"),
            State::Blocked { reason } => warn!(%reason, "broker: blocked"),
            State::Unconfirmed => {
                warn!("broker: connected, but it confirms nothing yet; has the queue a majority?");
            }
        }
    }
}

/// A standby could not use the broker.
#[derive(Debug)]
pub(crate) struct StandbyProbeFailed<'a> {
    pub(crate) problem: &'a str,
}

impl StandbyProbeFailed<'_> {
    pub(crate) fn emit(&self) {
        counter!("postroom_relay_broker_losses_total").increment(1);
        warn!("broker: this standby could not take over: {}", self.problem);
    }
}

/// The fence belongs to a node that is down or cut off, so no relay can take it.
#[derive(Debug)]
pub(crate) struct FenceLeftOver<'a> {
    pub(crate) queue: &'a str,
}

impl FenceLeftOver<'_> {
    pub(crate) fn emit(&self) {
        let Self { queue } = self;
        warn!(
            "broker: the exclusive queue {queue} was left over by a node that is down or cut off, and cannot be taken until that is back, or removed from the cluster (rabbitmqctl forget_cluster_node). Until then nothing keeps a relay of a copy of this database from publishing beside this one"
        );
    }
}

/// The relay tries to take a left-over fence.
#[derive(Debug)]
pub(crate) struct FenceTried;

impl FenceTried {
    pub(crate) fn emit(self) {
        debug!("broker: trying to take the left-over fence");
    }
}

/// A batch was not confirmed in time, while other batches were.
#[derive(Debug)]
pub(crate) struct Unconfirmed<'a> {
    pub(crate) after: Duration,
    pub(crate) topics: BTreeSet<&'a str>,
}

impl Unconfirmed<'_> {
    pub(crate) fn emit(&self) {
        let Self { after, topics } = self;
        warn!(
            ?topics,
            "no confirm within {after:?} for messages of these topics, but for others; has their queue a majority?"
        );
    }
}

/// The broker closed a channel because of a message, and a new channel was opened.
#[derive(Debug)]
pub(crate) struct ChannelClosed<'a> {
    pub(crate) error: &'a dyn Error,
}

impl ChannelClosed<'_> {
    pub(crate) fn emit(&self) {
        let error = postroom_message::errors::chain(self.error);
        warn!(%error, "the broker closed a channel over a message; finding out which, and parking it");
    }
}

/// No queue is bound to these topics. Logged once for each topic until a queue is bound.
#[derive(Debug)]
pub(crate) struct Unbound {
    pub(crate) topics: Vec<Arc<str>>,
}

impl Unbound {
    pub(crate) fn emit(&self) {
        warn!(
            topics = ?self.topics,
            "no queue is bound to these topics: their messages are parked and tried again; start \
             their consumer, or list the topics in publish.drop_unroutable"
        );
    }
}

/// The exchange of a consumer is missing, or the relay may not write to it. Logged once for each until it takes a message.
#[derive(Debug)]
pub(crate) struct RecipientRefused<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) error: &'a dyn Error,
}

impl RecipientRefused<'_> {
    pub(crate) fn emit(&self) {
        let error = postroom_message::errors::chain(self.error);
        warn!(
            exchange = self.exchange,
            %error,
            "the broker takes nothing for this consumer: its messages are parked and tried again; start the \
             consumer, which declares the exchange, and let the relay's user write to it"
        );
    }
}

/// The broker answered every message of a batch.
#[derive(Debug)]
pub(crate) struct BatchConfirmed {
    /// Time from issuing the batch to its last confirm.
    pub(crate) took: Duration,
    /// Age of the oldest message that a queue took, since it was due; `None` if no queue took any.
    pub(crate) delay: Option<Duration>,
}

impl BatchConfirmed {
    pub(crate) fn emit(&self) {
        histogram!("postroom_relay_confirm_seconds").record(self.took.as_secs_f64());
        if let Some(delay) = self.delay {
            histogram!("postroom_relay_delay_seconds").record(delay.as_secs_f64());
        }
    }
}
