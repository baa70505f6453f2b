//! Judges a run by its three histories: what producers committed, what a queue saw, what handlers
//! effected. Depends on nothing of Postroom, and trusts nothing that it says.

mod report;

use std::collections::{HashMap, HashSet};

pub use report::{Disorder, Report};

/// A message that a producer committed, from a ledger written in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub id: String,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its place among the messages of its key, in commit order.
    pub place: i64,
}

/// A message that came out of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// The key that it carried.
    pub key: Option<String>,
}

/// What a handler did, from a ledger written in its transaction: one row for each time it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Id of the message handled.
    pub id: String,
}

/// Judges what a queue bound to everything saw, in the order in which it saw it.
///
/// Lost: committed and never seen. Ghost: seen and never committed. Repeat: seen again. Disorder:
/// the first occurrences of a key are not in the order of their places, or carry another key.
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

/// Judges what handlers of one consumer effected.
///
/// Lost: committed and never effected. Ghost: effected and never committed. Excess: effected more
/// than once.
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
