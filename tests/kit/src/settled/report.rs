//! The messages that have not settled, drawn as a tree of causes.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use super::{
    outbox::Message,
    place::{AtRelay, Place},
    round::Round,
};

/// Messages that have not settled, and their places.
#[derive(Debug)]
pub struct Unsettled {
    text: String,
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Unsettled {}

impl Unsettled {
    pub(super) fn new(round: &Round, unchanged: Duration) -> Self {
        let tree = Tree::new(round);
        let missing: HashSet<usize> = round.missing.iter().filter_map(|row| row.message).collect();
        let cause = if round.needs_an_operator() {
            "only an operator can move what is left".to_owned()
        } else {
            format!("nothing changed for {unchanged:.1?}")
        };
        let mut text = format!(
            "cannot see everything settled: {cause}, and {} of {} messages have not settled; look at their places:\n",
            missing.len(),
            round.messages(),
        );
        for root in tree.roots() {
            tree.draw(&mut text, root, 1);
        }
        for row in &round.missing {
            if let (None, Place::Inbox(parked)) = (row.message, &row.place) {
                let id = parked.message_id.as_deref().unwrap_or("no id");
                let line = format!("  {id} {}: of no message of these outboxes", parked.topic);
                push_line(&mut text, &line);
                push_line(&mut text, &format!("    {}: {}", row.consumer, row.place));
            }
        }
        Self {
            text: text.trim_end().to_owned(),
        }
    }
}

/// The messages that have not settled, and their causes.
struct Tree<'a> {
    round: &'a Round,
    /// Messages to draw, in order.
    drawn: Vec<usize>,
    /// Cause of a message, by index.
    causes: HashMap<usize, usize>,
}

impl<'a> Tree<'a> {
    fn new(round: &'a Round) -> Self {
        let by_id: HashMap<String, usize> = round
            .all
            .iter()
            .enumerate()
            .map(|(index, message)| (message.id.to_string(), index))
            .collect();
        let mut causes = HashMap::new();
        let mut drawn = HashSet::new();
        for missing in round.missing.iter().filter_map(|row| row.message) {
            let (mut next, mut path) = (Some(missing), HashSet::new());
            // A message that is drawn already has all its causes drawn.
            while let Some(index) = next
                && drawn.insert(index)
            {
                path.insert(index);
                let cause = round.all[index].causation_id.as_ref();
                let cause = cause.and_then(|id| by_id.get(id)).copied();
                // Causation ids are the publishers' own, and may form a circle.
                next = cause.filter(|cause| !path.contains(cause));
                causes.extend(next.map(|cause| (index, cause)));
            }
        }
        let mut drawn: Vec<usize> = drawn.into_iter().collect();
        drawn.sort_unstable();
        Self {
            round,
            drawn,
            causes,
        }
    }

    fn roots(&self) -> impl Iterator<Item = usize> {
        let roots = self.drawn.iter().copied();
        roots.filter(|index| !self.causes.contains_key(index))
    }

    fn draw(&self, text: &mut String, index: usize, depth: usize) {
        let indent = "  ".repeat(depth);
        let missing = self.round.missing.iter();
        let places: Vec<String> = missing
            .filter(|row| row.message == Some(index))
            .map(|row| format!("{indent}    {}: {}", row.consumer, row.place))
            .collect();
        let message = name(&self.round.all[index]);
        let state = match &self.round.all[index].at_relay {
            _ if !places.is_empty() => String::new(),
            AtRelay::Dropped(reason) => format!(": dropped ({reason})"),
            _ => ": settled".to_owned(),
        };
        push_line(text, &format!("{indent}{message}{state}"));
        for place in places {
            push_line(text, &place);
        }
        for child in &self.drawn {
            if self.causes.get(child) == Some(&index) {
                self.draw(text, *child, depth + 1);
            }
        }
    }
}

fn name(message: &Message) -> String {
    format!(
        "{} {} (outbox of {}, position {})",
        message.id, message.topic, message.source, message.position
    )
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
