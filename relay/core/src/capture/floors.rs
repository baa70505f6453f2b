//! Floors: positions below which no row can be new.

use super::Position;

/// Most pairs kept. Older pairs are thinned, which only makes floors lower.
const MAX_PAIRS: usize = 32;

/// A fact: every row of a transaction above `xid` lies above `position`.
///
/// A pair is made by reading the sequence and *then*, in a later statement of a transaction that
/// has no id yet, having `xid` assigned. A transaction with a higher id received the id later
/// still, and its positions after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Id that was assigned after the sequence was read.
    pub xid: u64,
    /// Highest position handed out when the sequence was read.
    pub position: Position,
}

/// Floors, kept as pairs, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Floors {
    pairs: Vec<Pair>,
}

impl Floors {
    /// Makes floors from recorded pairs, oldest first.
    pub const fn from_pairs(pairs: Vec<Pair>) -> Self {
        Self { pairs }
    }

    /// Pairs, oldest first.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Returns the floor of a transaction id: every row of a transaction with id `xid` or higher
    /// lies above it.
    pub fn below(&self, xid: u64) -> Position {
        let older = self.pairs.partition_point(|pair| pair.xid < xid);
        older
            .checked_sub(1)
            .map_or(0, |index| self.pairs[index].position)
    }

    /// Highest position that is known to have been handed out.
    pub fn highest(&self) -> Position {
        self.pairs.last().map_or(0, |pair| pair.position)
    }

    /// Adds a pair; `xmin` is the lowest id whose floor may still be needed. A pair that would
    /// lower a floor says nothing new, and is left out.
    pub fn add(&mut self, pair: Pair, xmin: u64) {
        let newest = self.pairs.last();
        if newest.is_some_and(|last| last.xid >= pair.xid || last.position >= pair.position) {
            return;
        }
        self.pairs.push(pair);
        let unneeded = self
            .pairs
            .partition_point(|pair| pair.xid < xmin)
            .saturating_sub(1);
        self.pairs.drain(..unneeded);
        if self.pairs.len() > MAX_PAIRS {
            // The oldest pair serves the oldest open transaction, the newer half the others: of the
            // older half, every second pair is removed.
            let half = self.pairs.len() / 2;
            let mut index = 0;
            self.pairs.retain(|_| {
                index += 1;
                index == 1 || index > half || index % 2 == 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Floors, MAX_PAIRS, Pair};

    #[test]
    fn a_pair_with_a_lower_position_lowers_no_floor() {
        let mut floors = Floors::from_pairs(vec![Pair {
            xid: 5,
            position: 100,
        }]);
        floors.add(
            Pair {
                xid: 9,
                position: 0,
            },
            1,
        );
        assert_eq!(floors.below(10), 100);
        assert_eq!(floors.highest(), 100);
    }

    proptest! {
        /// A floor never lies above the floor of the full history, whichever pairs were thinned.
        #[test]
        fn a_floor_is_never_too_high(steps in proptest::collection::vec((1_u64..9, 0_i64..9, 0_u64..5), 1..200)) {
            let mut floors = Floors::default();
            let mut history = Vec::new();
            let (mut xid, mut position, mut xmin) = (1, 0, 1);
            for (ids, positions, finished) in steps {
                xid += ids;
                position += positions;
                xmin = (xmin + finished).min(xid);
                history.push(Pair { xid, position });
                floors.add(Pair { xid, position }, xmin);
                prop_assert!(floors.pairs().len() <= MAX_PAIRS);
                for asked in xmin..xid + 3 {
                    let exact = history.iter().filter(|p| p.xid < asked).map(|p| p.position).max();
                    prop_assert!(floors.below(asked) <= exact.unwrap_or(0));
                }
                // An old transaction never lowers the floor of the newest ones.
                prop_assert_eq!(floors.below(xid + 1), position);
            }
        }
    }
}
