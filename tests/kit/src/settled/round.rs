//! One look at all outboxes and inboxes.

use std::collections::HashSet;

use sqlx::Result;

use super::{
    inbox::{Inbox, Parked, Records},
    outbox::{Message, Outbox},
    place::{AtRelay, Place},
};

/// A message that has not settled for a consumer.
#[derive(Debug)]
pub(super) struct Missing {
    /// Index of the message in the round; `None` for a parked delivery of no message of the outboxes.
    pub(super) message: Option<usize>,
    pub(super) consumer: String,
    pub(super) place: Place,
}

/// One look at all outboxes and inboxes.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) all: Vec<Message>,
    /// Indices of the messages that a consumer takes.
    taken: Vec<usize>,
    pub(super) missing: Vec<Missing>,
}

impl Round {
    /// Reads all outboxes, and then all inboxes.
    pub(super) async fn read(outboxes: &[Outbox], inboxes: &[Inbox]) -> Result<Self> {
        let mut round = Self::default();
        for outbox in outboxes {
            round.all.extend(outbox.messages().await?);
        }
        let before = unpublished_before(&round.all);
        for inbox in inboxes {
            let matches = |index: &usize| inbox.topics.matches(&round.all[*index].topic);
            let taken: Vec<usize> = (0..round.all.len()).filter(matches).collect();
            let messages: Vec<&Message> = taken.iter().map(|index| &round.all[*index]).collect();
            let records = inbox.records(&messages).await?;
            let missing = missing(inbox, outboxes, &records, &messages, &taken, &before);
            round.missing.extend(missing);
            round.taken.extend(taken);
        }
        round.taken.sort_unstable();
        round.taken.dedup();
        Ok(round)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.missing.is_empty()
    }

    /// Number of messages that a consumer takes.
    pub(super) fn messages(&self) -> usize {
        self.taken.len()
    }

    /// Returns `true` if only an operator can move the messages that have not settled.
    pub(super) fn needs_an_operator(&self) -> bool {
        let mut missing = self.missing.iter();
        !self.is_settled() && missing.all(|missing| missing.place.needs_an_operator())
    }

    /// Returns `true` if the other round found the same messages at the same places.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = |(one, two): (&Missing, &Missing)| {
            (one.message, &one.consumer) == (two.message, &two.consumer)
                && one.place.is_same(&two.place)
        };
        self.ids().eq(other.ids())
            && self.missing.len() == other.missing.len()
            && self.missing.iter().zip(&other.missing).all(is_same)
    }

    /// Source and position of each message that a consumer takes.
    fn ids(&self) -> impl Iterator<Item = (&str, i64)> {
        let messages = self.taken.iter().map(|index| &self.all[*index]);
        messages.map(|message| (&*message.source, message.position))
    }
}

/// Returns, for each message, how many before it in its outbox are not published.
fn unpublished_before(all: &[Message]) -> Vec<usize> {
    let mut before = Vec::with_capacity(all.len());
    let (mut source, mut count) = ("", 0);
    for message in all {
        if message.source != source {
            (source, count) = (&message.source, 0);
        }
        before.push(count);
        count += usize::from(matches!(message.at_relay, AtRelay::Waiting));
    }
    before
}

/// Returns what has not settled for a consumer.
fn missing(
    inbox: &Inbox,
    outboxes: &[Outbox],
    records: &Records,
    messages: &[&Message],
    taken: &[usize],
    before: &[usize],
) -> Vec<Missing> {
    let rows = records.parked_by_message();
    let mut seen: HashSet<i64> = HashSet::new();
    let mut missing = Vec::new();
    let to_check = messages.iter().zip(taken).zip(&records.recorded);
    for ((message, index), is_recorded) in to_check {
        let id = message.id.to_string();
        let parked = rows.get(&(&*id, &*message.source)).copied();
        seen.extend(parked.map(|row| row.id));
        let place = Place::of(
            &message.at_relay,
            before[*index],
            *is_recorded,
            parked,
            inbox.may_be_dead,
        );
        missing.extend(place.map(|place| Missing {
            message: Some(*index),
            consumer: inbox.name.clone(),
            place,
        }));
    }
    let others = records.parked.iter().filter(|row| {
        let is_settled = row.is_dead && inbox.may_be_dead;
        !(is_settled || seen.contains(&row.id) || is_left_out(row, outboxes))
    });
    missing.extend(others.map(|row| Missing {
        message: None,
        consumer: inbox.name.clone(),
        place: Place::Inbox(row.clone()),
    }));
    missing
}

/// Returns `true` if a parked delivery may be of a message below the position from which its outbox is considered.
fn is_left_out(row: &Parked, outboxes: &[Outbox]) -> bool {
    let source = row.source.as_deref();
    let mut outboxes = outboxes.iter();
    outboxes.any(|outbox| outbox.since > 0 && source == Some(&outbox.source))
}
