//! Decides which partitions a process takes and releases, so that all are read and processes have equal shares.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::layout::Partition;

/// The members and their partitions, as one member sees them.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    /// Members that may read, by the number of their session.
    pub(super) members: BTreeSet<i32>,
    /// Holder of each partition that is held.
    pub(super) held: BTreeMap<Partition, i32>,
}

/// Partitions to take and to release.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// Free partitions to take, in the order in which to try them, and the number to take.
    pub(super) take: (usize, Vec<Partition>),
    pub(super) release: Vec<Partition>,
}

impl Shares {
    /// Decides for the member `me`; `wanted` are the partitions that are to be read, and `releasing` those that `me` is
    /// releasing already.
    ///
    /// Members are ranked by the number of partitions that they hold, and then by their numbers. Where the partitions do
    /// not divide evenly, the first members hold one more: so few partitions move.
    pub(super) fn moves(
        &self,
        me: i32,
        wanted: &[Partition],
        releasing: &BTreeSet<Partition>,
    ) -> Moves {
        let holder = |partition: &Partition| self.held.get(partition).copied();
        let held_by = |member: i32| {
            let held = wanted.iter().copied();
            held.filter(move |partition| holder(partition) == Some(member))
        };
        let mut ranked: Vec<i32> = self.members.iter().copied().collect();
        ranked.sort_by_key(|&member| (Reverse(held_by(member).count()), member));
        let rank = ranked.iter().position(|&member| member == me);
        let target = rank.map_or(0, |rank| {
            let (share, rest) = (wanted.len() / ranked.len(), wanted.len() % ranked.len());
            share + usize::from(rank < rest)
        });
        let mut release: Vec<Partition> = self
            .held
            .iter()
            .filter(|&(partition, &holder)| holder == me && !wanted.contains(partition))
            .map(|(&partition, _)| partition)
            .collect();
        let mine: Vec<Partition> = held_by(me).collect();
        let kept = mine
            .iter()
            .filter(|&partition| !releasing.contains(partition));
        let kept: Vec<Partition> = kept.copied().collect();
        release.extend(kept.iter().skip(target));
        release.retain(|partition| !releasing.contains(partition));
        let free = wanted
            .iter()
            .filter(|&partition| holder(partition).is_none());
        let mut free: Vec<Partition> = free.copied().collect();
        if let Some(rank) = rank.filter(|_| !free.is_empty()) {
            // Members try different partitions first.
            let first = rank % free.len();
            free.rotate_left(first);
        }
        Moves {
            take: (target.saturating_sub(mine.len()), free),
            release,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::Shares;
    use crate::layout::{Layout, Partition};

    fn partitions(number: u8) -> Vec<Partition> {
        let layout = Layout::partitioned(number).unwrap();
        layout.partitions().collect()
    }

    /// Members that take turns; a release takes effect at the member's next turn.
    #[derive(Debug, Default)]
    struct World {
        shares: Shares,
        releasing: BTreeMap<i32, BTreeSet<Partition>>,
    }

    impl World {
        /// Lets a member act on what it saw in `seen`; returns `true` if anything changed.
        fn act(&mut self, me: i32, seen: &Shares, wanted: &[Partition]) -> bool {
            let releasing = self.releasing.entry(me).or_default();
            let mut changed = !releasing.is_empty();
            for partition in std::mem::take(releasing) {
                self.shares.held.remove(&partition);
            }
            let moves = seen.moves(me, wanted, &BTreeSet::new());
            let (mut number, free) = moves.take;
            for partition in free {
                if number > 0 && !self.shares.held.contains_key(&partition) {
                    self.shares.held.insert(partition, me);
                    (number, changed) = (number - 1, true);
                }
            }
            let held = &self.shares.held;
            let release = moves.release.into_iter();
            let release: BTreeSet<Partition> = release
                .filter(|partition| held.get(partition) == Some(&me))
                .collect();
            changed |= !release.is_empty();
            self.releasing.insert(me, release);
            changed
        }

        fn dies(&mut self, member: i32) {
            self.shares.members.remove(&member);
            self.shares.held.retain(|_, holder| *holder != member);
            self.releasing.remove(&member);
        }
    }

    proptest! {
        #[test]
        fn all_partitions_get_held_in_equal_shares_whoever_dies(
            number in 1_u8..=64,
            start in proptest::collection::vec(0_i32..9, 64),
            members in proptest::collection::btree_set(0_i32..9, 1..9),
            dead in proptest::collection::btree_set(0_i32..9, 0..4),
            stale in proptest::collection::vec(0_i32..9, 0..20),
        ) {
            let wanted = partitions(number);
            let mut world = World::default();
            world.shares.members.clone_from(&members);
            // Some partitions are held, by members with any number of them; one of another layout too.
            let other = partitions(if number == 7 { 8 } else { 7 })[0];
            for (&partition, &holder) in wanted.iter().chain([&other]).zip(&start) {
                if members.contains(&holder) {
                    world.shares.held.insert(partition, holder);
                }
            }
            // Members act on what they saw before others did, and some die meanwhile.
            let seen = world.shares.clone();
            for member in stale {
                if members.contains(&member) {
                    world.act(member, &seen, &wanted);
                }
            }
            for member in dead {
                if world.shares.members.len() > 1 {
                    world.dies(member);
                }
            }
            let members: Vec<i32> = world.shares.members.iter().copied().collect();
            let mut rounds = 0;
            loop {
                let mut changed = false;
                for &member in &members {
                    let seen = world.shares.clone();
                    changed |= world.act(member, &seen, &wanted);
                }
                if !changed {
                    break;
                }
                rounds += 1;
                prop_assert!(rounds <= 6, "{:?}", world);
            }
            prop_assert!(wanted.iter().all(|partition| world.shares.held.contains_key(partition)));
            prop_assert!(!world.shares.held.contains_key(&other));
            let count = |member: &i32| {
                world.shares.held.values().filter(|holder| *holder == member).count()
            };
            let counts: Vec<usize> = members.iter().map(count).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
        }
    }

    #[test]
    fn a_new_member_gets_its_share_from_those_that_hold_most() {
        let wanted = partitions(4);
        let mut shares = Shares::default();
        shares.members.extend([1, 2, 3]);
        shares.held.extend(wanted.iter().copied().zip([2, 2, 3, 3]));
        let moves = |me| shares.moves(me, &wanted, &BTreeSet::new());
        assert_eq!(moves(2).release, []);
        assert_eq!(moves(3).release, [wanted[3]]);
        assert_eq!(moves(1).take, (1, Vec::new()));
        let releasing = BTreeSet::from([wanted[3]]);
        assert_eq!(shares.moves(3, &wanted, &releasing).release, []);
        shares.held.remove(&wanted[3]);
        assert_eq!(
            shares.moves(1, &wanted, &BTreeSet::new()).take,
            (1, vec![wanted[3]])
        );
    }

    #[test]
    fn who_may_not_read_releases_everything() {
        let wanted = partitions(2);
        let mut shares = Shares::default();
        shares.members.insert(1);
        shares.held.extend([(wanted[0], 1), (wanted[1], 2)]);
        assert_eq!(
            shares.moves(2, &wanted, &BTreeSet::new()).release,
            [wanted[1]]
        );
    }
}
