//! The order of deliveries that share a transaction, and their handler calls.

use std::collections::HashSet;

use crate::sql::processed::DedupEntry;

/// Splits works into handler calls: neighbours of the same batch type share a call. `batch_type` returns the
/// batch handler that takes a work, else `None`.
pub(super) fn calls<T, B: PartialEq>(
    works: Vec<T>,
    batch_type: impl Fn(&T) -> Option<B>,
) -> Vec<Call<T, B>> {
    let mut calls: Vec<Call<T, B>> = Vec::new();
    for work in works {
        match (batch_type(&work), calls.last_mut()) {
            (Some(batch), Some(Call::Many(last, works))) if *last == batch => works.push(work),
            (Some(batch), _) => calls.push(Call::Many(batch, vec![work])),
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

/// A call of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call<T, B> {
    /// A call for one message.
    One(T),
    /// A call of a batch handler.
    Many(B, Vec<T>),
}

#[cfg(test)]
mod tests {
    use super::{Call, calls};

    #[test]
    fn neighbours_of_a_batched_type_are_one_call() {
        let type_of = |n: &i32| (*n < 10).then(|| (n % 2).to_string());
        assert_eq!(
            calls(vec![1, 3, 2, 10, 4], type_of),
            [
                Call::Many("1".to_owned(), vec![1, 3]),
                Call::Many("0".into(), vec![2]),
                Call::One(10),
                Call::Many("0".into(), vec![4]),
            ]
        );
    }
}
