//! Below which positions nothing can be new.

use super::Position;

/// Most pairs that are kept. Older ones are thinned, which only makes floors lower.
const MOST_PAIRS: usize = 32;

/// A fact: whatever a transaction above `xid` writes lies above `position`.
///
/// Made by reading the sequence and *then*, in a later statement of a transaction that has no id
/// yet, having `xid` assigned. A transaction with a higher id got it later still, and its
/// positions after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Id that was assigned after the sequence was read.
    pub xid: u64,
    /// Highest position handed out by then.
    pub position: Position,
}

/// Pairs, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    pairs: Vec<Pair>,
}

impl Floors {
    /// Makes floors from recorded pairs, oldest first.
    pub const fn from_pairs(pairs: Vec<Pair>) -> Self {
        Self { pairs }
    }

    /// The pairs, oldest first.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Every row of a transaction with id `xid` or higher lies above the returned position.
    pub fn below(&self, xid: u64) -> Position {
        let older = self.pairs.partition_point(|pair| pair.xid < xid);
        older
            .checked_sub(1)
            .map_or(0, |index| self.pairs[index].position)
    }

    /// The highest position that is known to have been handed out.
    pub fn highest(&self) -> Position {
        self.pairs.last().map_or(0, |pair| pair.position)
    }

    /// Adds a pair; `xmin` is the lowest id that a floor can still be asked for. One that would
    /// lower a floor says nothing new, and is left out.
    pub fn add(&mut self, pair: Pair, xmin: u64) {
        let newest = self.pairs.last();
        if newest.is_some_and(|last| last.xid >= pair.xid || last.position >= pair.position) {
            return;
        }
        self.pairs.push(pair);
        let useless = self
            .pairs
            .partition_point(|pair| pair.xid < xmin)
            .saturating_sub(1);
        self.pairs.drain(..useless);
        if self.pairs.len() > MOST_PAIRS {
            // The oldest serves the oldest open transaction, the newer half the others: of the
            // older half every second may go.
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

    use super::{Floors, MOST_PAIRS, Pair};

    #[test]
    fn a_pair_that_knows_less_lowers_no_floor() {
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
        /// Whatever was thinned away, a floor never lies above that of the full history.
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
                prop_assert!(floors.pairs().len() <= MOST_PAIRS);
                for asked in xmin..xid + 3 {
                    let exact = history.iter().filter(|p| p.xid < asked).map(|p| p.position).max();
                    prop_assert!(floors.below(asked) <= exact.unwrap_or(0));
                }
                // The newest transactions are never held back by an old one.
                prop_assert_eq!(floors.below(xid + 1), position);
            }
        }
    }
}
