//! Checker of a run's three histories: the messages that producers committed, the messages that a queue
//! delivered, and the effects of handlers. The crate depends on no code of Postroom, so that it cannot
//! repeat a mistake of Postroom.

mod report;

use std::collections::{HashMap, HashSet};

pub use report::{Disorder, Report};

/// A message that a producer committed, read from a ledger written in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Id of the message.
    pub id: String,
    /// Ordering key; `None` if unordered.
    pub key: Option<String>,
    /// Rank among the messages of the key, in commit order.
    pub place: i64,
}

/// A message received from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Id of the message.
    pub id: String,
    /// Key that the message carried.
    pub key: Option<String>,
}

/// A run of a handler, read from a ledger written in the handler's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Id of the handled message.
    pub id: String,
}

/// Compares the committed messages with those received from a queue that is bound to everything, in the
/// order of reception.
///
/// Lost: committed and never received. Ghost: received and never committed. Repeat: received again.
/// Disorder: the first occurrences of a key are not in commit order, or carry another key.
pub fn judge_queue(committed: &[Committed], seen: &[Seen]) -> Report {
    let by_id: HashMap<&str, &Committed> = committed.iter().map(|c| (c.id.as_str(), c)).collect();
    let mut report = Report {
        committed: committed.len(),
        ..Report::default()
    };
    let mut met = HashSet::new();
    let mut last: HashMap<&str, &Committed> = HashMap::new();
    for message in seen {
        let Some(&original) = by_id.get(message.id.as_str()) else {
            report.ghosts.push(message.id.clone());
            continue;
        };
        if !met.insert(message.id.as_str()) {
            report.repeats += 1;
            continue;
        }
        if message.key != original.key {
            report.wrong_keys.push(message.id.clone());
        }
        let Some(key) = original.key.as_deref() else {
            continue;
        };
        if let Some(before) = last.insert(key, original)
            && before.place >= original.place
        {
            report.disorders.push(Disorder {
                key: key.to_owned(),
                first: before.id.clone(),
                then: original.id.clone(),
            });
        }
    }
    report.seen = met.len();
    let unseen = committed.iter().filter(|c| !met.contains(c.id.as_str()));
    report.lost = unseen.map(|c| c.id.clone()).collect();
    report
}

/// Compares the committed messages with the effects of one consumer's handlers.
///
/// Lost: committed, without an effect. Ghost: an effect of a message never committed. Excess: more than one
/// effect.
pub fn judge_effects(committed: &[Committed], effects: &[Effect]) -> Report {
    let mut report = Report {
        committed: committed.len(),
        ..Report::default()
    };
    let mut times: HashMap<&str, usize> = HashMap::new();
    for effect in effects {
        *times.entry(effect.id.as_str()).or_default() += 1;
    }
    for message in committed {
        match times.remove(message.id.as_str()) {
            None => report.lost.push(message.id.clone()),
            Some(1) => report.seen += 1,
            Some(_) => {
                report.seen += 1;
                report.excess.push(message.id.clone());
            }
        }
    }
    report.ghosts = times.into_keys().map(str::to_owned).collect();
    report
}

#[cfg(test)]
mod tests;
