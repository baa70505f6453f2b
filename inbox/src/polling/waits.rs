//! The waits that are open, and when each looks next. No I/O.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Look, Progress, ProgressOf};

/// First wait before another look.
const SHORTEST: Duration = Duration::from_millis(10);

/// Time within which looks are made together.
const TOGETHER: Duration = Duration::from_millis(5);

/// Longest wait before another look.
const LONGEST: Duration = Duration::from_millis(250);

/// Largest number of keys in one look.
const LOOKED: usize = 1_000;

/// A key that somebody waits for.
#[derive(Debug)]
struct Waiting<L: Look> {
    key: L::Key,
    began: Instant,
    /// Time of the next look.
    next: Instant,
    /// Result of the last look.
    last_seen: Option<Result<L::State, String>>,
    /// `None` once the wait has ended.
    end: Option<oneshot::Sender<L::End>>,
}

/// Waits by their numbers.
#[derive(Debug)]
pub(super) struct Waits<L: Look> {
    by_number: BTreeMap<u64, Waiting<L>>,
    last: u64,
    /// `true` while a task looks for them.
    pub(super) is_polled: bool,
}

impl<L: Look> Default for Waits<L> {
    fn default() -> Self {
        Self {
            by_number: BTreeMap::new(),
            last: 0,
            is_polled: false,
        }
    }
}

impl<L: Look> Waits<L> {
    /// Begins a wait; returns its number.
    pub(super) fn begin(&mut self, key: L::Key, end: oneshot::Sender<L::End>, now: Instant) -> u64 {
        self.last += 1;
        let wait = Waiting {
            key,
            began: now,
            next: now,
            last_seen: None,
            end: Some(end),
        };
        self.by_number.insert(self.last, wait);
        self.last
    }

    /// Ends a wait.
    pub(super) fn remove(&mut self, number: u64) {
        self.by_number.remove(&number);
    }

    pub(super) fn last_seen(&self, number: u64) -> Option<Result<L::State, String>> {
        self.by_number.get(&number)?.last_seen.clone()
    }

    /// Returns the time of the next look; `None` if nobody waits.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.open().map(|(_, wait)| wait.next).min()
    }

    /// Returns the numbers and keys to look at now.
    pub(super) fn due(&self, now: Instant) -> (Vec<u64>, Vec<L::Key>) {
        let due = self.open().filter(|(_, wait)| wait.next <= now + TOGETHER);
        let due = due.map(|(number, wait)| (*number, wait.key.clone()));
        due.take(LOOKED).unzip()
    }

    /// Takes the result of a look.
    pub(super) fn found(&mut self, numbers: &[u64], found: Vec<ProgressOf<L>>, now: Instant) {
        for (number, progress) in numbers.iter().zip(found) {
            let Some(wait) = self.by_number.get_mut(number) else {
                continue;
            };
            match progress {
                Progress::Ended(end) => {
                    if let Some(sender) = wait.end.take() {
                        // The waiting future may have been dropped.
                        let _ = sender.send(end);
                    }
                }
                Progress::Open(state) => {
                    wait.last_seen = Some(Ok(state));
                    let waited = now.saturating_duration_since(wait.began);
                    wait.next = now + (waited / 4).clamp(SHORTEST, LONGEST);
                }
            }
        }
    }

    /// Takes the error of a look.
    pub(super) fn failed(&mut self, numbers: &[u64], error: &str, now: Instant) {
        for number in numbers {
            if let Some(wait) = self.by_number.get_mut(number) {
                wait.last_seen = Some(Err(error.to_owned()));
                wait.next = now + LONGEST;
            }
        }
    }

    fn open(&self) -> impl Iterator<Item = (&u64, &Waiting<L>)> {
        self.by_number.iter().filter(|(_, wait)| wait.end.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::sync::oneshot::{self, Receiver};

    use super::{LONGEST, LOOKED, Look, Progress, ProgressOf, Waits};

    #[derive(Debug)]
    struct Numbers;

    impl Look for Numbers {
        type Key = u32;
        type End = &'static str;
        type State = &'static str;

        async fn look(&self, _: &[u32]) -> Result<Vec<ProgressOf<Self>>, sqlx::Error> {
            Ok(Vec::new())
        }
    }

    fn begin(waits: &mut Waits<Numbers>, key: u32, now: Instant) -> (u64, Receiver<&'static str>) {
        let (sender, receiver) = oneshot::channel();
        (waits.begin(key, sender, now), receiver)
    }

    #[test]
    fn a_wait_ends_with_what_was_found_and_others_go_on() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        let (first, mut ended) = begin(&mut waits, 7, now);
        let (second, mut open) = begin(&mut waits, 8, now);
        assert_eq!(waits.due(now), (vec![first, second], vec![7, 8]));
        let found = vec![Progress::Ended("here"), Progress::Open("elsewhere")];
        waits.found(&[first, second], found, now);
        assert_eq!(ended.try_recv(), Ok("here"));
        assert!(open.try_recv().is_err());
        assert_eq!(waits.last_seen(second), Some(Ok("elsewhere")));
        assert_eq!(waits.due(now + LONGEST).0, [second]);
        waits.remove(second);
        assert_eq!(waits.next_look(), None);
    }

    #[test]
    fn looks_become_rarer_up_to_a_limit() {
        let (mut waits, began) = (Waits::default(), Instant::now());
        let (number, _receiver) = begin(&mut waits, 7, began);
        let (mut now, mut last) = (began, Duration::ZERO);
        for _ in 0..40 {
            waits.found(&[number], vec![Progress::Open("")], now);
            let next = waits.next_look().unwrap();
            assert!(next - now >= last, "{last:?}");
            (last, now) = (next - now, next);
        }
        assert_eq!(last, LONGEST);
        waits.failed(&[number], "refused", now);
        assert_eq!(waits.next_look(), Some(now + LONGEST));
        assert_eq!(waits.last_seen(number), Some(Err("refused".to_owned())));
    }

    #[test]
    fn a_look_has_a_limit() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        let waiting: Vec<_> = (0..=LOOKED).map(|_| begin(&mut waits, 7, now)).collect();
        let (numbers, _) = waits.due(now);
        assert_eq!(numbers.len(), LOOKED);
        let found = numbers.iter().map(|_| Progress::Open("")).collect();
        waits.found(&numbers, found, now);
        assert_eq!(waits.due(now).0, [waiting[LOOKED].0]);
    }
}
