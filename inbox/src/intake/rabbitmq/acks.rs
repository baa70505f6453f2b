//! Decides which acknowledgements to send: one for many deliveries if all earlier ones are settled too.

use std::{collections::BTreeSet, mem};

/// Settled and acknowledged delivery tags of one channel. Tags count from 1 on each channel (AMQP 0-9-1,
/// basic.ack).
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Highest tag up to which all are settled.
    upto: u64,
    /// Settled tags above `upto` that are not acknowledged yet: the gap before them may close at any
    /// moment.
    waiting: BTreeSet<u64>,
    /// Acknowledged tags above `upto`. The set grows for as long as tag `upto + 1` is not settled, so no
    /// step may iterate over all of it.
    sent: BTreeSet<u64>,
}

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// `true` if it also acknowledges every earlier delivery that is not acknowledged yet.
    pub(super) multiple: bool,
}

impl Acks {
    /// Takes settled tags; returns the acknowledgements to send now, in this order and before any later ones.
    ///
    /// A tag after an unsettled one is held back until the next call, and then acknowledged by itself.
    pub(super) fn settle(&mut self, tags: &[u64]) -> Vec<Ack> {
        let mut waited = mem::take(&mut self.waiting);
        self.waiting.extend(tags);
        let mut acks = Vec::new();
        // The broker closes the channel for a tag that is acknowledged already.
        let mut unsent = 0;
        loop {
            let tag = self.upto + 1;
            if waited.remove(&tag) || self.waiting.remove(&tag) {
                unsent += 1;
                let multiple = unsent > 1;
                acks = vec![Ack { tag, multiple }];
            } else if !self.sent.remove(&tag) {
                break;
            }
            self.upto = tag;
        }
        let multiple = false;
        acks.extend(waited.iter().map(|&tag| Ack { tag, multiple }));
        self.sent.append(&mut waited);
        acks
    }

    /// Returns `true` if a settled tag waits to be acknowledged.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Ack, Acks};

    #[test]
    fn tags_settled_without_a_gap_share_one_acknowledgement() {
        let mut acks = Acks::default();
        let ack = |tag, multiple| Ack { tag, multiple };
        assert_eq!(acks.settle(&[2, 4]), []);
        assert!(acks.waits());
        assert_eq!(acks.settle(&[3, 1]), [ack(4, true)]);
        assert!(!acks.waits());
        assert_eq!(acks.settle(&[5]), [ack(5, false)]);
    }

    #[test]
    fn an_unsettled_tag_delays_later_ones_by_one_call() {
        let mut acks = Acks::default();
        let ack = |tag, multiple| Ack { tag, multiple };
        assert_eq!(acks.settle(&[2, 3]), []);
        assert_eq!(acks.settle(&[]), [ack(2, false), ack(3, false)]);
        assert!(!acks.waits());
        assert_eq!(acks.settle(&[1]), [ack(1, false)]);
    }

    proptest! {
        // A broker closes the channel for an unknown tag.
        #[test]
        fn every_tag_is_acknowledged_once_and_none_before_it_is_settled(
            order in Just((1_u64..60).collect::<Vec<_>>()).prop_shuffle(),
            sizes in proptest::collection::vec(0_usize..8, 60),
        ) {
            let mut acks = Acks::default();
            let mut settled = BTreeSet::new();
            let mut outstanding: BTreeSet<u64> = (1..60).collect();
            let mut order = &order[..];
            for size in sizes {
                let before = settled.clone();
                let (now, later) = order.split_at(size.min(order.len()));
                order = later;
                settled.extend(now);
                for Ack { tag, multiple } in acks.settle(now) {
                    prop_assert!(outstanding.remove(&tag), "{} is unknown", tag);
                    if multiple {
                        let covered: Vec<u64> = outstanding.range(..tag).copied().collect();
                        for tag in covered {
                            prop_assert!(settled.contains(&tag));
                            outstanding.remove(&tag);
                        }
                    }
                }
                prop_assert!(before.iter().all(|tag| !outstanding.contains(tag)));
                let held = settled.iter().any(|tag| outstanding.contains(tag));
                prop_assert_eq!(acks.waits(), held);
            }
        }
    }
}
