//! Markers that a subscription has received: they show that a queue that receives no more messages is read to its end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::{Delivery, intake::source::Receipt};

/// Number of consecutive looks that must find a queue empty. Deliveries that the broker had sent before the first look
/// have arrived before the second.
const EMPTY_LOOKS: u32 = 2;

/// Markers of a partition's queue, shared by its subscription and by the task that changes the layout.
///
/// A marker stays unacknowledged until the end of its queue is recorded, so that the next process finds the marker
/// again. The queue is read to its end once a true marker is held, no other delivery is unacknowledged, and the queue is
/// empty: after two lost processes, a quorum queue may deliver a marker before older messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Markers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the subscription has to look at the state.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<Held>,
    /// Messages that looked like markers and are none.
    rejected: VecDeque<(Delivery, Receipt)>,
    /// Number of looks in a row that found the queue empty.
    empty_looks: u32,
    /// `true` if no other delivery was unacknowledged when the queue was last found empty.
    is_at_end: bool,
}

#[derive(Debug)]
struct Held {
    token: Uuid,
    delivery: Delivery,
    receipt: Receipt,
}

impl Markers {
    /// Returns the number of held messages that are, or look like, markers.
    pub(crate) fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Judges the first `held` messages by the true marker's token, which must have been read after
    /// [`held`](Self::held); messages with another token become ordinary deliveries. Returns `true` if the queue is read
    /// to its end.
    pub(crate) fn judge(&self, held: usize, token: Option<Uuid>) -> bool {
        let mut state = self.state();
        let mut number = 0;
        let is_false = |marker: &mut Held| {
            number += 1;
            number <= held && token != Some(marker.token)
        };
        let rejected: Vec<Held> = state.held.extract_if(.., is_false).collect();
        let any_rejected = !rejected.is_empty();
        let rejected = rejected.into_iter();
        state
            .rejected
            .extend(rejected.map(|marker| (marker.delivery, marker.receipt)));
        let is_true = |marker: &Held| token == Some(marker.token);
        let is_read = state.is_at_end && state.held.iter().any(is_true);
        drop(state);
        if any_rejected {
            self.0.changed.notify_one();
        }
        is_read
    }

    /// Acknowledges the held markers: the end of the queue is recorded.
    pub(crate) fn acknowledge(&self) {
        let held = std::mem::take(&mut self.state().held);
        for marker in held {
            marker.receipt.acknowledge();
        }
    }

    /// Forgets everything: a new subscription receives the unacknowledged messages again.
    pub(super) fn reset(&self) {
        *self.state() = State::default();
    }

    /// Holds a message that looks like a marker.
    pub(super) fn hold(&self, token: Uuid, delivery: Delivery, receipt: Receipt) {
        self.state().held.push(Held {
            token,
            delivery,
            receipt,
        });
    }

    /// Records that another message was delivered.
    pub(super) fn delivered(&self) {
        let mut state = self.state();
        state.empty_looks = 0;
        state.is_at_end = false;
    }

    /// Records a look at the queue.
    pub(super) fn looked(&self, is_empty: bool) {
        let mut state = self.state();
        state.empty_looks = if is_empty { state.empty_looks + 1 } else { 0 };
        drop(state);
        self.0.changed.notify_one();
    }

    /// Records that no delivery had arrived after the last look, with this number of unacknowledged ones.
    pub(super) fn nothing_arrived(&self, unacknowledged: u64) {
        let mut state = self.state();
        let are_all_markers = unacknowledged == state.held.len() as u64;
        state.is_at_end = are_all_markers && state.empty_looks >= EMPTY_LOOKS;
    }

    /// Returns a message that looked like a marker and is none.
    pub(super) fn rejected(&self) -> Option<(Delivery, Receipt)> {
        self.state().rejected.pop_front()
    }

    /// Waits until the subscription has to look at the state. Cancel safe.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method can panic halfway through a change, so a poisoned lock is still consistent.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::Markers;
    use crate::{Delivery, Incoming, intake::source::Receipt};

    fn marker(tag: u64, acknowledged: &mpsc::UnboundedSender<u64>) -> (Delivery, Receipt) {
        let delivery = Delivery::new(Incoming::default(), Vec::new());
        (delivery, Receipt::new(tag, acknowledged.clone()))
    }

    #[test]
    fn a_queue_is_read_to_its_end_once_only_its_true_marker_is_left() {
        let (sender, mut acknowledged) = mpsc::unbounded_channel();
        let (markers, token) = (Markers::default(), Uuid::from_u128(1));
        let (delivery, receipt) = marker(7, &sender);
        markers.hold(token, delivery, receipt);
        for unacknowledged in [1, 2] {
            markers.looked(true);
            markers.nothing_arrived(unacknowledged);
            assert!(
                !markers.judge(1, Some(token)),
                "one look, or another message"
            );
        }
        markers.nothing_arrived(1);
        assert!(markers.judge(1, Some(token)));
        markers.delivered();
        assert!(!markers.judge(1, Some(token)), "a message came");
        for is_empty in [true, false, true] {
            markers.looked(is_empty);
        }
        markers.nothing_arrived(1);
        assert!(!markers.judge(1, Some(token)), "a message is in the queue");
        markers.acknowledge();
        assert_eq!(acknowledged.try_recv(), Ok(7));
    }

    #[test]
    fn a_message_with_another_token_becomes_an_ordinary_delivery() {
        let (sender, _acknowledged) = mpsc::unbounded_channel();
        let (markers, token) = (Markers::default(), Uuid::from_u128(1));
        for (number, tag) in [(2, 1), (1, 2), (3, 3)] {
            let (delivery, receipt) = marker(tag, &sender);
            markers.hold(Uuid::from_u128(number), delivery, receipt);
        }
        // The third arrived after the token was read: a marker of a later change, perhaps.
        markers.judge(2, Some(token));
        assert_eq!(markers.held(), 2);
        assert!(markers.rejected().is_some());
        assert!(markers.rejected().is_none());
        markers.judge(2, None);
        assert_eq!(markers.held(), 0);
    }
}
