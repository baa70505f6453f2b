//! Every SQL statement that this crate runs, for administrators who want to know what runs in their database.
//!
//! Texts and names may change with any release.

use crate::sql::{
    idempotency, late_answer,
    parked::{arrive, newer, operate, retry, untrusted},
    partitions,
    processed::{self, Leaf},
    replies, session, waiting,
};

/// Statements with a text of their own, with their names.
pub const ALL: &[(&str, &str)] = &[
    ("arrive::ANY_HOLDER", arrive::ANY_HOLDER),
    ("arrive::INSERT", arrive::INSERT),
    ("arrive::IS_HELD", arrive::IS_HELD),
    ("arrive::IS_THERE", arrive::IS_THERE),
    ("arrive::LOCK_HOLDER", arrive::LOCK_HOLDER),
    ("idempotency::EXPIRE", idempotency::EXPIRE),
    ("idempotency::RECORD", idempotency::RECORD),
    ("idempotency::RECORD_ALL", idempotency::RECORD_ALL),
    ("newer::COUNT", newer::COUNT),
    ("newer::WAKE", newer::WAKE),
    ("operate::DISCARD", operate::DISCARD),
    ("operate::LIST", operate::LIST),
    ("operate::RETRY", operate::RETRY),
    ("partitions::ADVANCE", partitions::ADVANCE),
    ("partitions::BEGIN_CHANGE", partitions::BEGIN_CHANGE),
    ("partitions::CREATE", partitions::CREATE),
    ("partitions::FINISH", partitions::FINISH),
    ("partitions::LAYOUT", partitions::LAYOUT),
    ("partitions::LOCK", partitions::LOCK),
    ("partitions::LOCKS", partitions::LOCKS),
    ("partitions::LOCK_SHARED", partitions::LOCK_SHARED),
    ("partitions::SETTING", partitions::SETTING),
    ("partitions::SET_DRAINED", partitions::SET_DRAINED),
    ("partitions::SET_UNDRAINED", partitions::SET_UNDRAINED),
    ("partitions::UNLOCK", partitions::UNLOCK),
    ("processed::EXPIRE_OTHER", processed::EXPIRE_OTHER),
    ("processed::IS_ANY_RECORDED", processed::IS_ANY_RECORDED),
    ("processed::RECORD_ALL", processed::RECORD_ALL),
    ("processed::RECORD_OTHER", processed::RECORD_OTHER),
    ("processed::RECORD_RING", processed::RECORD_RING),
    ("replies::EXPIRE", replies::EXPIRE),
    ("replies::FIND", replies::FIND),
    ("replies::KEEP", replies::KEEP),
    ("retry::BACKDATE_NEXT", retry::BACKDATE_NEXT),
    ("retry::CLAIM", retry::CLAIM),
    ("retry::DELETE", retry::DELETE),
    ("retry::LOCK_CLAIMED", retry::LOCK_CLAIMED),
    ("retry::LOCK_SETTLED", retry::LOCK_SETTLED),
    ("retry::RELEASE_NEXT", retry::RELEASE_NEXT),
    ("retry::RELEASE_ORPHANS", retry::RELEASE_ORPHANS),
    ("retry::SETTLE", retry::SETTLE),
    ("session::END_STALE_BLOCKERS", session::END_STALE_BLOCKERS),
    ("session::IS_COMMITTED", session::IS_COMMITTED),
    ("session::IS_DURABLE", session::IS_DURABLE),
    ("session::LOCK_JANITOR", session::LOCK_JANITOR),
    ("session::MAKE_DURABLE", session::MAKE_DURABLE),
    ("session::NOW", session::NOW),
    ("session::SERVER", session::SERVER),
    ("session::TAKE_ROLE", session::TAKE_ROLE),
    ("session::TERMINATE", session::TERMINATE),
    ("session::TRANSACTION", session::TRANSACTION),
    ("untrusted::COUNT_UNTRUSTED", untrusted::COUNT_UNTRUSTED),
    ("untrusted::LOCK_UNTRUSTED", untrusted::LOCK_UNTRUSTED),
    ("waiting::LOOK", waiting::LOOK),
];

/// Requests of several statements, with their names.
pub const REQUESTS: &[(&str, &str)] = &[
    ("session::CHECK_CONSTRAINTS", session::CHECK_CONSTRAINTS),
    ("session::END_OTHER_ROLE", session::END_OTHER_ROLE),
    ("late_answer::END", late_answer::END),
];

/// The request that commits the transaction with this id and begins another one.
pub fn commit_and_begin(xid: &str) -> String {
    session::commit_text(xid)
}

/// The statements that look at a leaf of the ring and empty it.
pub fn of_leaf(slot: i16) -> [String; 3] {
    let leaf = Leaf::new(slot);
    [leaf.lock_text(), leaf.ends_text(), leaf.truncate_text()]
}
