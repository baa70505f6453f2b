//! Parking rows, and what that means for their key.

use std::sync::Arc;

use super::{
    Hold, Machine, Park, Reason,
    key::{Entry, Follower, Origin, Place},
    write::Due,
};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Parks a row, or parks it again.
    pub(super) fn park(
        &mut self,
        entry: &Entry<M>,
        reason: Reason,
        hold: Hold,
        attempts: u32,
        due: Due,
        detail: Option<String>,
    ) {
        self.release(entry);
        let park = Park {
            position: entry.row.position,
            reason,
            hold,
            attempts,
            due,
            detail,
        };
        match entry.origin {
            Origin::Frame(_) => self.pending.parks.push(park),
            Origin::Parked { .. } => self.pending.reschedules.push(park),
        }
        if let Some(key) = &entry.row.key
            && hold != Hold::Nothing
        {
            self.hold_back(entry.row.position, key, &entry.row.topic, reason, hold);
        }
    }

    /// Takes a row's message out of memory; it is parked when the rows before it are out too.
    pub(super) fn follow(&mut self, key: &Arc<str>, entry: &Entry<M>, hold: Hold) {
        let Origin::Frame(frame) = entry.origin else {
            debug_assert!(false, "it is parked already");
            return;
        };
        self.rows -= 1;
        self.bytes -= entry.row.bytes;
        let state = self.key(key);
        state.holds.add(hold, &entry.row.topic);
        state.followers.push_back(Follower {
            position: entry.row.position,
            topic: Arc::clone(&entry.row.topic),
            frame,
            hold,
        });
    }

    /// Parks those that no row from a frame stands before; `first` is the key's first one in memory.
    pub(super) fn park_followers(&mut self, key: &Arc<str>, first: Option<Place>) {
        let followers = &mut self.key(key).followers;
        let before = |follower: &Follower| first.is_none_or(|first| follower.place() < first);
        let count = followers.partition_point(before);
        for follower in followers.drain(..count).collect::<Vec<_>>() {
            self.pending.parks.push(Park {
                position: follower.position,
                reason: Reason::Behind,
                hold: follower.hold,
                attempts: 0,
                due: Due::Never,
                detail: None,
            });
            self.pass_watermark(follower.frame, follower.position);
            let (position, topic) = (follower.position, &follower.topic);
            self.hold_back(position, key, topic, Reason::Behind, follower.hold);
        }
    }

    pub(super) fn record_forget(&mut self, entry: &Entry<M>) {
        self.pending.forgets.push(entry.row.position);
        if let Some(key) = &entry.row.key {
            self.record_for_key(entry.row.position, key);
        }
    }

    fn record_for_key(&mut self, position: Position, key: &Arc<str>) {
        self.pending.keys.push((position, Arc::clone(key)));
        self.key(key).unwritten += 1;
    }

    fn hold_back(
        &mut self,
        position: Position,
        key: &Arc<str>,
        topic: &Arc<str>,
        reason: Reason,
        hold: Hold,
    ) {
        self.record_for_key(position, key);
        let state = self.key(key);
        state.holds.add(hold, topic);
        match (reason, hold) {
            (Reason::Behind, Hold::Topic) if state.pass.failed_topics.contains(topic) => {}
            (Reason::Behind, _) => state.pass.parked_since = true,
            // Something failed, new or parked before: a pass that is under way must not try it
            // again before its time.
            (_, Hold::Key) => {
                state.pass.stopped = true;
                state.spilled = false;
            }
            _ => {
                state.pass.failed_topics.insert(topic);
            }
        }
    }
}
