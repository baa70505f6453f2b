//! The layout of a consumer as the database tells it, and the partitions that are read in each step of a change.

use std::{collections::BTreeSet, time::Duration};

use uuid::Uuid;

use crate::{
    layout::{Layout, Partition},
    sql::partitions::{self, LayoutRow},
    transaction::Settings,
};

/// The layout, or the change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayoutState {
    /// Counts the changes.
    pub(super) generation: i64,
    /// The layout, or the one that the change leads to.
    pub(super) layout: Layout,
    pub(super) change: Option<Change>,
    /// Time since the step began.
    pub(super) age: Duration,
}

/// A change of the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The layout that is left.
    pub(super) previous: Layout,
    pub(super) step: Step,
    /// Partitions of the previous layout whose queues are read to their ends.
    pub(super) drained: BTreeSet<u8>,
    /// Token of the markers at the ends of the previous layout's queues.
    pub(super) token: Uuid,
}

/// Step of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The new queues are bound, and the old ones unbound and marked.
    Binding,
    /// The old queues are read to their ends.
    Draining,
    /// The new queues are read, and the old ones deleted.
    Retiring,
}

impl Step {
    /// Returns the name in the database.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Draining => "draining",
            Self::Retiring => "retiring",
        }
    }
}

impl LayoutState {
    /// Reads a row; `None` if the row holds what this release does not know.
    pub(super) fn from_row(row: LayoutRow) -> Option<Self> {
        let step = match row.step.as_str() {
            "ready" => None,
            "binding" => Some(Step::Binding),
            "draining" => Some(Step::Draining),
            "retiring" => Some(Step::Retiring),
            _ => return None,
        };
        let change = match step {
            None => None,
            Some(step) => Some(Change {
                previous: Layout::from_number(row.previous?)?,
                step,
                drained: row
                    .drained
                    .into_iter()
                    .filter_map(|number| u8::try_from(number).ok())
                    .collect(),
                token: row.token?,
            }),
        };
        Some(Self {
            generation: row.generation,
            layout: Layout::from_number(row.partitions)?,
            change,
            age: Duration::from_secs_f64(row.age.max(0.0)),
        })
    }

    /// Returns `true` if the plain queue is read, as it is without a row, and no change is under way.
    pub(super) fn is_plain(state: Option<&Self>) -> bool {
        state.is_none_or(|state| state.layout.is_plain() && state.change.is_none())
    }

    /// Returns the partitions that are read now.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        let Some(change) = &self.change else {
            return self.layout.partitions().collect();
        };
        let previous = change.undrained();
        match change.step {
            // Processes that know nothing of partitions may still read the plain queue.
            Step::Binding if change.previous.is_plain() => Vec::new(),
            Step::Binding | Step::Draining => previous.collect(),
            Step::Retiring => previous.chain(self.layout.partitions()).collect(),
        }
    }

    /// Returns the token of true markers; `None` while there is no change.
    pub(super) fn token(&self) -> Option<Uuid> {
        self.change.as_ref().map(|change| change.token)
    }

    /// Returns `true` if the end of a partition's queue can be recorded now.
    pub(super) fn is_drainable(&self, partition: Partition) -> bool {
        self.change.as_ref().is_some_and(|change| {
            change.step != Step::Binding && change.undrained().any(|other| other == partition)
        })
    }
}

impl Change {
    /// Returns the partitions of the previous layout whose queues are not read to their ends.
    pub(super) fn undrained(&self) -> impl Iterator<Item = Partition> {
        let partitions = self.previous.partitions();
        partitions.filter(|partition| !self.drained.contains(&partition.number()))
    }
}

/// Returns the layout of the settings' consumer; `None` if it has the plain layout and never had another.
pub(super) async fn look(settings: &Settings) -> Result<Option<LayoutState>, sqlx::Error> {
    let mut tx = settings.begin().await?;
    let row = partitions::layout(&mut settings.link(&mut tx), &settings.consumer).await?;
    tx.commit().await?;
    known(row)
}

/// Reads a row, if there is one.
pub(super) fn known(row: Option<LayoutRow>) -> Result<Option<LayoutState>, sqlx::Error> {
    let Some(row) = row else { return Ok(None) };
    let problem =
        "the row in inbox.partitions holds what this release does not know; upgrade this process";
    let state = LayoutState::from_row(row);
    state
        .map(Some)
        .ok_or_else(|| sqlx::Error::Decode(problem.into()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{LayoutState, Step};
    use crate::{layout::Layout, sql::partitions::LayoutRow};

    fn row(partitions: i16, previous: Option<i16>, step: &str, drained: &[i16]) -> LayoutRow {
        LayoutRow {
            generation: 1,
            partitions,
            previous,
            step: step.to_owned(),
            drained: drained.to_vec(),
            token: previous.map(|_| Uuid::from_u128(1)),
            age: 0.5,
        }
    }

    fn read(row: LayoutRow) -> Vec<(u8, u8)> {
        let state = LayoutState::from_row(row).unwrap();
        let partitions = state.partitions().into_iter();
        partitions
            .map(|partition| (partition.layout().number(), partition.number()))
            .collect()
    }

    #[test]
    fn the_new_queues_are_read_once_the_old_ones_are_drained() {
        assert_eq!(read(row(2, None, "ready", &[])), [(2, 0), (2, 1)]);
        let old = [(3, 0), (3, 1), (3, 2)];
        assert_eq!(read(row(1, Some(3), "binding", &[])), old);
        assert_eq!(read(row(1, Some(3), "draining", &[0, 2])), [(3, 1)]);
        assert_eq!(read(row(1, Some(3), "retiring", &[0, 1, 2])), [(1, 0)]);
        // A message came into an old queue after its end was recorded.
        let again = [(3, 1), (1, 0)];
        assert_eq!(read(row(1, Some(3), "retiring", &[0, 2])), again);
    }

    #[test]
    fn the_plain_queue_is_read_by_members_only_to_drain_it() {
        assert_eq!(read(row(2, Some(0), "binding", &[])), []);
        assert_eq!(read(row(2, Some(0), "draining", &[])), [(0, 0)]);
        let ready = LayoutState::from_row(row(0, None, "ready", &[])).unwrap();
        assert!(LayoutState::is_plain(Some(&ready)) && LayoutState::is_plain(None));
        let change = LayoutState::from_row(row(0, Some(2), "retiring", &[])).unwrap();
        assert!(!LayoutState::is_plain(Some(&change)));
    }

    #[test]
    fn the_end_of_a_queue_is_recorded_after_it_was_marked() {
        for (step, is_drainable) in [("binding", false), ("draining", true), ("retiring", true)] {
            let state = LayoutState::from_row(row(1, Some(2), step, &[0])).unwrap();
            let old = Layout::partitioned(2).unwrap();
            let mut old = old.partitions();
            assert!(!state.is_drainable(old.next().unwrap()));
            assert_eq!(state.is_drainable(old.next().unwrap()), is_drainable);
        }
        assert_eq!(Step::Draining.name(), "draining");
    }

    #[test]
    fn a_row_of_a_later_release_is_not_understood() {
        assert!(LayoutState::from_row(row(1, None, "splitting", &[])).is_none());
        assert!(LayoutState::from_row(row(65, None, "ready", &[])).is_none());
    }
}
