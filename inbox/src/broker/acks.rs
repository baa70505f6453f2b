//! Which acknowledgements to send: one for many deliveries where all before them are settled too.

use std::collections::BTreeSet;

/// What a channel delivered and what of it is settled. Delivery tags count from 1 on each channel
/// (AMQP 0-9-1, basic.ack).
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Everything up to this tag is settled.
    upto: u64,
    /// Settled tags above.
    above: BTreeSet<u64>,
}

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// Whether it stands for every earlier delivery that is not acknowledged yet.
    pub(super) multiple: bool,
}

impl Acks {
    /// Takes settled tags; returns what to send now, in this order and before anything else.
    pub(super) fn settle(&mut self, tags: &[u64]) -> Vec<Ack> {
        self.above.extend(tags);
        while self.above.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
        let (below, above): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag <= self.upto);
        let multiple = below.len() > 1;
        let newest = below.into_iter().max().map(|tag| Ack { tag, multiple });
        let each = above.into_iter().map(|tag| Ack {
            tag,
            multiple: false,
        });
        newest.into_iter().chain(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Ack, Acks};

    #[test]
    fn what_is_settled_from_the_first_on_is_one_acknowledgement() {
        let mut acks = Acks::default();
        let ack = |tag, multiple| Ack { tag, multiple };
        assert_eq!(acks.settle(&[2, 4]), [ack(2, false), ack(4, false)]);
        assert_eq!(acks.settle(&[3, 1]), [ack(3, true)]);
        assert_eq!(acks.settle(&[5]), [ack(5, false)]);
    }

    proptest! {
        // As the broker has it: an unknown tag closes the channel.
        #[test]
        fn every_tag_is_acknowledged_once_and_none_before_it_is_settled(
            order in Just((1_u64..60).collect::<Vec<_>>()).prop_shuffle(),
            sizes in proptest::collection::vec(1_usize..8, 60),
        ) {
            let mut acks = Acks::default();
            let mut settled = BTreeSet::new();
            let mut outstanding: BTreeSet<u64> = (1..60).collect();
            let mut order = &order[..];
            for size in sizes {
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
                prop_assert!(settled.iter().all(|tag| !outstanding.contains(tag)));
            }
        }
    }
}
