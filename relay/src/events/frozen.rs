//! Log lines and metrics of every event, as users see them.

use std::{collections::BTreeSet, path::Path, time::Duration};

use golden::Facts;
use relay_core::publish::{Reason, Settled};

use super::{
    BatchConfirmed, BecameActive, BrokerState, ChannelClosed, Checkpointed, Expired, FenceLeftOver,
    FenceTried, FrameRead, GateCommit, LeaseMisheld, METRICS, MessagesSettled, Parked, Promoted,
    RecipientRefused, RingFull, Rotated, SessionLost, SlowlyPreparing, StandbyProbeFailed,
    StandingBy, Unbound, Unconfirmed, UpkeepRefused, Window,
};
use crate::{BrokerError, DatabaseError, RelayError, health::State};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn log_lines_and_metrics_of_events_are_as_before() {
    let mut facts = Facts::default();
    record_broker(&mut facts);
    record_messages(&mut facts);
    record_ring(&mut facts);
    record_session(&mut facts);
    golden::check("events/relay.txt", &facts.text());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/events");
    assert_eq!(
        facts.callsites(),
        golden::count_macros(&folder),
        "a log line of {} is not recorded above",
        folder.display()
    );
    let listed: BTreeSet<_> = METRICS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(*facts.metrics(), listed, "metrics recorded and listed");
}

fn record_broker(facts: &mut Facts) {
    let reason = "the connection was lost".to_owned();
    for state in [
        State::Disconnected {
            reason: reason.clone(),
            refused: false,
            retry_in: SECOND,
        },
        State::Disconnected {
            reason: "access to the exchange refused".to_owned(),
            refused: true,
            retry_in: SECOND,
        },
        State::Connecting,
        State::Ready,
        State::Blocked { reason },
        State::Unconfirmed,
    ] {
        facts.record(|| BrokerState { state: &state }.emit());
    }
    let problem = "no answer";
    facts.record(|| StandbyProbeFailed { problem }.emit());
    let queue = "postroom.fence.1.2.0";
    facts.record(|| FenceLeftOver { queue }.emit());
    facts.record(|| FenceTried.emit());
    let topics = BTreeSet::from(["orders.paid", "orders.placed"]);
    let after = Duration::from_secs(30);
    facts.record(|| Unconfirmed { after, topics }.emit());
    let error = &BrokerError::Closed;
    facts.record(|| ChannelClosed { error }.emit());
    let exchange = "postroom.in.billing";
    facts.record(|| RecipientRefused { exchange, error }.emit());
    let topics = vec!["orders.placed".into()];
    facts.record(|| Unbound { topics }.emit());
    for delay in [None, Some(2 * SECOND)] {
        let took = SECOND / 2;
        facts.record(|| BatchConfirmed { took, delay }.emit());
    }
}

fn record_messages(facts: &mut Facts) {
    facts.record(|| FrameRead { rows: 7 }.emit());
    facts.record(|| GateCommit.emit());
    let window = Window {
        rows: 7,
        held_keys: 2,
        oldest: None,
    };
    facts.record(|| window.emit());
    let counts = [("behind".to_owned(), 3)].into();
    facts.record(|| Parked { counts }.emit());
    let ways = [Settled::Delivered, Settled::Dropped, Settled::Requeued];
    for settled in ways.into_iter().chain(Reason::ALL.map(Settled::Parked)) {
        facts.record(|| MessagesSettled::from_iter([settled, settled]).emit());
    }
}

fn record_ring(facts: &mut Facts) {
    let segment = 3;
    facts.record(|| Rotated { segment }.emit());
    facts.record(|| Expired { segment }.emit());
    facts.record(|| RingFull { segment }.emit());
    let error = &DatabaseError::Silent(SECOND);
    facts.record(|| UpkeepRefused { error }.emit());
}

fn record_session(facts: &mut Facts) {
    let lane = 0;
    facts.record(|| BecameActive { lane }.emit());
    let problem = "no relay can publish: the lock of the lease is held";
    facts.record(|| LeaseMisheld { problem }.emit());
    facts.record(|| StandingBy { lane }.emit());
    for was_active in [false, true] {
        let lost = SessionLost {
            error: &RelayError::Task,
            was_active,
            retry_in: SECOND,
        };
        facts.record(|| lost.emit());
    }
    let waited = 5 * SECOND;
    facts.record(|| SlowlyPreparing { waited }.emit());
    facts.record(|| Promoted { from: 1, to: 2 }.emit());
    facts.record(|| Checkpointed.emit());
}
