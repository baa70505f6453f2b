//! Messages to single consumers, each through the exchange that the consumer declares.
//!
//! They are published on a channel of their own. The broker closes a channel over an exchange that does not exist, or to
//! which the user may not write, and only the messages to that consumer shall wait then.

use std::{collections::HashSet, sync::Arc};

use amqp::{BatchError, ConfirmChannel, Connection, Refusal};
use relay_core::publish::Outcome;

use super::channel::{Sender, publish_to};
use crate::{events, transport::Message};

/// The channel for messages to single consumers.
#[derive(Debug)]
pub(super) struct Recipients {
    connection: Arc<Connection>,
    /// Opened with the first message.
    channel: Option<ConfirmChannel>,
    /// Exchanges that were missing or refused at the last attempt.
    refused: HashSet<Arc<str>>,
}

impl Recipients {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            channel: None,
            refused: HashSet::new(),
        }
    }

    /// Publishes messages whose topics are consumers' exchanges; returns the outcome of each, in their order. Messages
    /// to an exchange that is missing or refused are unroutable.
    pub(super) async fn publish(
        &mut self,
        messages: &[&Message],
        sender: &Sender,
    ) -> Result<Vec<Outcome>, BatchError> {
        let mut outcomes = vec![Outcome::Unroutable; messages.len()];
        let mut seen = HashSet::new();
        let exchanges = messages.iter().map(|message| &message.topic);
        let exchanges: Vec<_> = exchanges
            .filter(|exchange| seen.insert(*exchange))
            .collect();
        for exchange in exchanges {
            let to = |number: &usize| messages[*number].topic == *exchange;
            let numbers: Vec<usize> = (0..messages.len()).filter(to).collect();
            let batch: Vec<&Message> = numbers.iter().map(|number| messages[*number]).collect();
            if let Some(settled) = self.publish_to(exchange, &batch, sender).await? {
                for (number, outcome) in numbers.into_iter().zip(settled) {
                    outcomes[number] = outcome;
                }
            }
        }
        Ok(outcomes)
    }

    /// Publishes messages to one consumer; returns `None` if its exchange is missing or refused.
    async fn publish_to(
        &mut self,
        exchange: &Arc<str>,
        messages: &[&Message],
        sender: &Sender,
    ) -> Result<Option<Vec<Outcome>>, BatchError> {
        // Taken out: a channel over which something is in flight must not be used again.
        let mut channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.connection.open_confirm_channel().await?,
        };
        match publish_to(&mut channel, exchange, messages, sender).await {
            Ok(outcomes) => {
                self.channel = Some(channel);
                self.refused.remove(exchange);
                Ok(Some(outcomes))
            }
            Err(BatchError::Lost(error)) if is_about_exchange(error.refusal()) => {
                if self.refused.insert(Arc::clone(exchange)) {
                    events::RecipientRefused {
                        exchange,
                        error: &error,
                    }
                    .emit();
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up the channel, on which messages may be in flight.
    pub(super) fn abandon(&mut self) {
        self.channel = None;
    }
}

const fn is_about_exchange(refusal: Option<Refusal>) -> bool {
    matches!(
        refusal,
        Some(Refusal::NotFound | Refusal::Access | Refusal::Topic)
    )
}
