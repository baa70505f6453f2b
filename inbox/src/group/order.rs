//! Which members of a group run, in which order, and in which handler calls.

use std::collections::HashSet;

use crate::sql::processed::DedupEntry;

/// Returns the members that joined, in the order of their slots, except those that would overtake an
/// earlier delivery of their key that did not join.
pub(super) fn without_overtaking<T>(keys: &[Option<String>], joined: Vec<Option<T>>) -> Vec<T> {
    let mut missing_keys = HashSet::new();
    let mut members = Vec::with_capacity(joined.len());
    for (key, member) in keys.iter().zip(joined) {
        match (key, member) {
            (Some(key), _) if missing_keys.contains(key) => {}
            (_, Some(member)) => members.push(member),
            (Some(key), None) => {
                missing_keys.insert(key);
            }
            (None, None) => {}
        }
    }
    members
}

/// Splits works into handler calls: neighbours of the same batch type share a call. `batch_type` returns a
/// work's message type if a batch handler takes it, else `None`.
pub(super) fn calls<T>(works: Vec<T>, batch_type: impl Fn(&T) -> Option<String>) -> Vec<Call<T>> {
    let mut calls: Vec<Call<T>> = Vec::new();
    for work in works {
        match (batch_type(&work), calls.last_mut()) {
            (Some(name), Some(Call::Many(last, works))) if *last == name => works.push(work),
            (Some(name), _) => calls.push(Call::Many(name, vec![work])),
            (None, _) => calls.push(Call::One(work)),
        }
    }
    calls
}

/// Returns the keys that have a new id after a duplicate.
pub(super) fn keys_with_new_after_duplicate<'a>(
    entries: &'a [DedupEntry],
    is_new: &[Option<bool>],
) -> Vec<&'a str> {
    let (mut duplicate, mut behind) = (HashSet::new(), HashSet::new());
    for (entry, is_new) in entries.iter().zip(is_new) {
        match (&entry.key, is_new) {
            (Some(key), Some(false)) => {
                duplicate.insert(key);
            }
            (Some(key), Some(true)) if duplicate.contains(key) => {
                behind.insert(key.as_str());
            }
            _ => {}
        }
    }
    behind.into_iter().collect()
}

/// One call of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call<T> {
    /// A call for one message.
    One(T),
    /// A call of a batch handler for messages of the named type.
    Many(String, Vec<T>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Call, calls, without_overtaking};

    #[test]
    fn a_missing_delivery_excludes_later_ones_of_its_key() {
        let keys = [
            Some("a".into()),
            Some("b".into()),
            Some("a".into()),
            None,
            None,
        ];
        let joined = vec![None, Some(1), Some(2), None, Some(4)];
        assert_eq!(without_overtaking(&keys, joined), [1, 4]);
    }

    #[test]
    fn neighbours_of_a_batched_type_are_one_call() {
        let type_of = |n: &i32| (*n < 10).then(|| (n % 2).to_string());
        assert_eq!(
            calls(vec![1, 3, 2, 10, 4], type_of),
            [
                Call::Many("1".into(), vec![1, 3]),
                Call::Many("0".into(), vec![2]),
                Call::One(10),
                Call::Many("0".into(), vec![4]),
            ]
        );
    }

    proptest! {
        #[test]
        fn the_members_that_run_are_a_prefix_of_each_key(
            slots in proptest::collection::vec((0_u8..4, any::<bool>()), 0..40),
        ) {
            let keys: Vec<Option<String>> = slots
                .iter()
                .map(|(key, _)| (*key > 0).then(|| key.to_string()))
                .collect();
            let joined = slots
                .iter()
                .enumerate()
                .map(|(index, (_, has_joined))| has_joined.then_some(index))
                .collect();
            let members = without_overtaking(&keys, joined);
            prop_assert!(members.is_sorted());
            for (index, (key, has_joined)) in slots.iter().enumerate() {
                let mut earlier = slots[..index].iter().filter(|(other, _)| other == key);
                let none_missing = *key == 0 || earlier.all(|(_, has_joined)| *has_joined);
                prop_assert_eq!(members.contains(&index), *has_joined && none_missing);
            }
        }
    }
}
