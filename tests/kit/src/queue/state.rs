//! The messages of a queue in memory, and its faults. Without waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use inbox::Delivery;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Largest number of deliveries that are not acknowledged.
const PREFETCH: usize = 64;

/// Messages of a queue.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Messages in order of their delivery; redelivered ones first.
    ready: VecDeque<Delivery>,
    /// Delivered messages by their tags, of the current subscription.
    delivered: BTreeMap<u64, Delivery>,
    /// Tag of the last delivered message.
    tag: u64,
    /// Keys whose messages are not delivered.
    held: BTreeSet<String>,
    /// Number of acknowledgements that are still to be lost.
    lost_acknowledgements: usize,
    /// Number of the current subscription; an earlier one has ended.
    subscription: u64,
    is_open: bool,
}

impl State {
    pub(super) fn push(&mut self, delivery: Delivery) {
        self.ready.push_back(delivery);
    }

    /// Appends a copy of each message that waits or is not acknowledged.
    pub(super) fn duplicate(&mut self) {
        let copies: Vec<Delivery> = self.unacknowledged().cloned().collect();
        self.ready.extend(copies);
    }

    pub(super) fn hold(&mut self, key: &str) {
        self.held.insert(key.to_owned());
    }

    pub(super) fn release(&mut self, key: &str) {
        self.held.remove(key);
    }

    /// Mixes the waiting messages of different keys; messages of one key keep their order. A message without a key may
    /// move anywhere.
    pub(super) fn shuffle(&mut self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut groups: Vec<VecDeque<Delivery>> = Vec::new();
        let mut group_of_key = BTreeMap::new();
        for delivery in self.ready.drain(..) {
            let key = delivery.message().key.clone();
            let new = groups.len();
            let group = key.map_or(new, |key| *group_of_key.entry(key).or_insert(new));
            if group == new {
                groups.push(VecDeque::new());
            }
            groups[group].push_back(delivery);
        }
        while !groups.is_empty() {
            let group = random.random_range(0..groups.len());
            self.ready.extend(groups[group].pop_front());
            if groups[group].is_empty() {
                groups.swap_remove(group);
            }
        }
    }

    pub(super) fn lose_acknowledgements(&mut self, count: usize) {
        self.lost_acknowledgements = count;
    }

    /// Begins a subscription, and ends the one before it; returns its number.
    pub(super) fn subscribe(&mut self) -> u64 {
        self.end();
        self.is_open = true;
        self.subscription
    }

    /// Ends the current subscription: unacknowledged messages come again first, in their order.
    pub(super) fn end(&mut self) {
        self.is_open = false;
        self.subscription += 1;
        while let Some((_, delivery)) = self.delivered.pop_last() {
            let again = delivery.with_message(|message| message.delivery_count += 1);
            self.ready.push_front(again);
        }
    }

    pub(super) const fn is_current(&self, subscription: u64) -> bool {
        self.subscription == subscription
    }

    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Delivers the next message whose key is not held, with its tag.
    pub(super) fn take(&mut self) -> Option<(u64, Delivery)> {
        if self.delivered.len() >= PREFETCH {
            return None;
        }
        let is_held = |delivery: &Delivery| {
            let key = &delivery.message().key;
            key.as_ref().is_some_and(|key| self.held.contains(key))
        };
        let next = self.ready.iter().position(|delivery| !is_held(delivery))?;
        let delivery = self.ready.remove(next)?;
        self.tag += 1;
        self.delivered.insert(self.tag, delivery.clone());
        Some((self.tag, delivery))
    }

    /// Removes a delivered message, or loses the acknowledgement together with the subscription. Returns `true` if
    /// anything changed.
    pub(super) fn acknowledge(&mut self, subscription: u64, tag: u64) -> bool {
        if !self.is_current(subscription) || !self.delivered.contains_key(&tag) {
            return false;
        }
        if self.lost_acknowledgements > 0 {
            self.lost_acknowledgements -= 1;
            self.end();
        } else {
            self.delivered.remove(&tag);
        }
        true
    }

    /// Messages that are not acknowledged: delivered ones first.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &Delivery> {
        self.delivered.values().chain(&self.ready)
    }
}

#[cfg(test)]
mod tests {
    use inbox::{Delivery, Incoming};

    use super::State;

    fn delivery(key: &str, n: usize) -> Delivery {
        let mut message = Incoming::default();
        message.key = Some(key.to_owned());
        Delivery::new(message, format!("{key}{n}").into_bytes())
    }

    fn filled() -> State {
        let mut state = State::default();
        for n in 0..4 {
            state.push(delivery("a", n));
            state.push(delivery("b", n));
        }
        state
    }

    fn text(delivery: &Delivery) -> String {
        String::from_utf8(delivery.body().to_vec()).unwrap()
    }

    fn taken(state: &mut State) -> Vec<String> {
        std::iter::from_fn(|| state.take())
            .map(|(_, delivery)| text(&delivery))
            .collect()
    }

    #[test]
    fn a_shuffle_keeps_the_order_of_each_key() {
        let before = taken(&mut filled());
        let mut orders = Vec::new();
        for seed in 0..8 {
            let mut state = filled();
            state.shuffle(seed);
            let order = taken(&mut state);
            for key in ["a", "b"] {
                let of_key = |all: &[String]| -> Vec<String> {
                    let of_key = all.iter().filter(|text| text.starts_with(key));
                    of_key.cloned().collect()
                };
                assert_eq!(of_key(&order), of_key(&before));
            }
            orders.push(order);
        }
        assert!(orders.iter().any(|order| *order != before));
    }

    #[test]
    fn a_held_key_is_passed_over_until_it_is_released() {
        let mut state = filled();
        state.hold("a");
        assert_eq!(taken(&mut state), ["b0", "b1", "b2", "b3"]);
        state.release("a");
        assert_eq!(taken(&mut state), ["a0", "a1", "a2", "a3"]);
    }

    #[test]
    fn duplicates_follow_in_the_same_order() {
        let mut state = State::default();
        state.push(delivery("a", 0));
        state.push(delivery("b", 0));
        let _ = state.take();
        state.duplicate();
        assert_eq!(taken(&mut state), ["b0", "a0", "b0"]);
    }

    #[test]
    fn after_a_lost_acknowledgement_all_unacknowledged_messages_come_again() {
        let mut state = filled();
        state.lose_acknowledgements(1);
        let subscription = state.subscribe();
        let (first, _) = state.take().unwrap();
        let (second, _) = state.take().unwrap();
        assert!(state.acknowledge(subscription, second));
        assert!(!state.is_open());
        assert!(!state.acknowledge(subscription, first));
        let subscription = state.subscribe();
        let (tag, again) = state.take().unwrap();
        assert_eq!((&*text(&again), again.message().delivery_count), ("a0", 1));
        assert!(state.acknowledge(subscription, tag));
        assert_eq!(state.unacknowledged().count(), 7);
    }
}
