//! Who of a group runs, and in which order.

use std::collections::HashSet;

use crate::sql::processed::DedupEntry;

/// Returns the members that came, in the order of their places, without those that would overtake
/// one of their key that did not come.
pub(super) fn in_turn<T>(keys: &[Option<String>], here: Vec<Option<T>>) -> Vec<T> {
    let mut broken = HashSet::new();
    let mut members = Vec::with_capacity(here.len());
    for (key, member) in keys.iter().zip(here) {
        match (key, member) {
            (Some(key), _) if broken.contains(key) => {}
            (_, Some(member)) => members.push(member),
            (Some(key), None) => {
                broken.insert(key);
            }
            (None, None) => {}
        }
    }
    members
}

/// Splits works into calls of handlers: neighbours that one call may take stay together.
pub(super) fn calls<T>(
    works: Vec<T>,
    messages_per_transaction: impl Fn(&T) -> Option<String>,
) -> Vec<Call<T>> {
    let mut calls: Vec<Call<T>> = Vec::new();
    for work in works {
        match (messages_per_transaction(&work), calls.last_mut()) {
            (Some(name), Some(Call::Many(last, works))) if *last == name => works.push(work),
            (Some(name), _) => calls.push(Call::Many(name, vec![work])),
            (None, _) => calls.push(Call::One(work)),
        }
    }
    calls
}

/// Keys of new ids that stand behind a duplicate of their key.
pub(super) fn behind_duplicates<'a>(
    asked: &'a [DedupEntry],
    is_new: &[Option<bool>],
) -> Vec<&'a str> {
    let (mut known, mut behind) = (HashSet::new(), HashSet::new());
    for (asked, is_new) in asked.iter().zip(is_new) {
        match (&asked.key, is_new) {
            (Some(key), Some(false)) => {
                known.insert(key);
            }
            (Some(key), Some(true)) if known.contains(key) => {
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
    /// For one message.
    One(T),
    /// For many messages of the named type.
    Many(String, Vec<T>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Call, calls, in_turn};

    #[test]
    fn one_that_did_not_come_keeps_the_rest_of_its_key_back() {
        let keys = [
            Some("a".into()),
            Some("b".into()),
            Some("a".into()),
            None,
            None,
        ];
        let here = vec![None, Some(1), Some(2), None, Some(4)];
        assert_eq!(in_turn(&keys, here), [1, 4]);
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
        fn what_runs_is_a_prefix_of_each_key(
            places in proptest::collection::vec((0_u8..4, any::<bool>()), 0..40),
        ) {
            let keys: Vec<Option<String>> = places
                .iter()
                .map(|(key, _)| (*key > 0).then(|| key.to_string()))
                .collect();
            let here = places
                .iter()
                .enumerate()
                .map(|(index, (_, came))| came.then_some(index))
                .collect();
            let run = in_turn(&keys, here);
            prop_assert!(run.is_sorted());
            for (index, (key, came)) in places.iter().enumerate() {
                let earlier = places[..index].iter().filter(|(other, _)| other == key);
                let unbroken = *key == 0 || earlier.clone().all(|(_, came)| *came);
                prop_assert_eq!(run.contains(&index), *came && unbroken);
            }
        }
    }
}
