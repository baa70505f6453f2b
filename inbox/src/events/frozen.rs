//! Log lines and metrics of every event, and the spans around them, as users see them.

use std::{path::Path, time::Duration};

use golden::Facts;

use super::{
    Aborted, Alone, AttemptFailed, Connected, DatabaseUnavailable, DatabaseUnverified, Dead,
    Disconnected, Duplicate, DuplicateKey, FaultNotSent, FrozenEnded, Handled, LayoutChanged,
    LayoutWaits, LeafTruncated, LocksLost, NewerVersions, NoExchange, NotBound, OrphansReleased,
    Parked, PartitionReleased, PartitionTaken, Rerun, SharedFailed, Stuck, Unacknowledged,
    UntrustedDropped,
};
use crate::{Delivery, Incoming, Reason, delivery_span::DeliverySpans, transaction};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn log_lines_and_metrics_of_events_are_as_before() {
    let mut facts = Facts::default();
    record_broker(&mut facts);
    record_database(&mut facts);
    record_handling(&mut facts);
    record_parked(&mut facts);
    record_partitions(&mut facts);
    record_spans(&mut facts);
    golden::check("events/inbox.txt", &facts.text());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/events");
    assert_eq!(
        facts.callsites(),
        golden::count_macros(&folder),
        "a log line of {} is not recorded above",
        folder.display()
    );
    let listed = super::tests::listed();
    assert!(
        facts.metrics().iter().eq(listed.iter()),
        "metrics recorded and listed: {:?}, {listed:?}",
        facts.metrics()
    );
}

fn record_broker(facts: &mut Facts) {
    let (consumer, queue, error) = ("billing", "billing", "the connection was lost");
    facts.record(|| Connected { consumer, queue }.emit());
    let lost = Disconnected {
        consumer,
        error,
        retry_in: SECOND,
    };
    facts.record(|| lost.emit());
    let exchange = "postroom";
    facts.record(|| NoExchange { consumer, exchange }.emit());
    facts.record(|| NotBound { consumer, error }.emit());
    facts.record(|| Unacknowledged { consumer }.emit());
}

fn record_database(facts: &mut Facts) {
    let consumer = "billing";
    let unavailable = DatabaseUnavailable {
        consumer,
        doing: "recording a message",
        error: "no answer",
    };
    facts.record(|| unavailable.emit());
    let danger = "db:5432 is another machine, and sslmode=require encrypts to anybody";
    facts.record(|| DatabaseUnverified { consumer, danger }.emit());
    let sessions = 2;
    facts.record(|| FrozenEnded { consumer, sessions }.emit());
    facts.record(|| LeafTruncated { consumer, slot: 7 }.emit());
}

fn record_handling(facts: &mut Facts) {
    let (consumer, error) = ("billing", "no such customer");
    for origin in ["queue", "parked"] {
        let handled = Handled {
            consumer,
            origin,
            took: SECOND / 2,
        };
        facts.record(|| handled.emit());
    }
    facts.record(|| Duplicate { consumer }.emit());
    let known = DuplicateKey {
        consumer,
        type_name: "orders.placed",
        key: "order-7",
    };
    facts.record(|| known.emit());
    let failed = AttemptFailed {
        consumer,
        attempt: 3,
        error,
    };
    facts.record(|| failed.emit());
    let failed = SharedFailed {
        consumer,
        messages: 20,
        error,
    };
    facts.record(|| failed.emit());
    let waited = 300 * SECOND;
    facts.record(|| Stuck { consumer, waited }.emit());
    facts.record(|| Rerun { consumer, error }.emit());
    facts.record(|| Alone { error }.emit());
    let handlers = 2;
    facts.record(|| Aborted { consumer, handlers }.emit());
}

fn record_parked(facts: &mut Facts) {
    let consumer = "billing";
    let error = &outbox::PublishError::ContentType("?".to_owned());
    facts.record(|| FaultNotSent { consumer, error }.emit());
    for &reason in Reason::ALL {
        facts.record(|| Parked { consumer, reason }.emit());
        let error = (reason == Reason::Failed).then_some("no such customer");
        let dead = Dead {
            consumer,
            reason,
            error,
        };
        facts.record(|| dead.emit());
    }
    for is_logged in [true, false] {
        let dropped = UntrustedDropped {
            consumer,
            error: Some("its publisher set no AMQP user-id"),
            kept: 1_000,
            is_logged,
        };
        facts.record(|| dropped.emit());
    }
    for is_logged in [true, false] {
        let waiting = NewerVersions {
            consumer,
            messages: 3,
            oldest: 90 * SECOND,
            is_logged,
        };
        facts.record(|| waiting.emit());
    }
    facts.record(|| OrphansReleased { consumer, rows: 2 }.emit());
}

fn record_partitions(facts: &mut Facts) {
    let (consumer, queue, error) = ("billing", "billing.4.0", "the connection was lost");
    let taken = PartitionTaken {
        consumer,
        queue,
        held: 2,
    };
    facts.record(|| taken.emit());
    let released = PartitionReleased {
        consumer,
        queue,
        held: 1,
    };
    facts.record(|| released.emit());
    facts.record(|| LocksLost { consumer, error }.emit());
    let changed = LayoutChanged {
        consumer,
        partitions: 4,
        step: "draining",
    };
    facts.record(|| changed.emit());
    let reason = "a process without partitions reads the queue";
    facts.record(|| LayoutWaits { consumer, reason }.emit());
}

fn record_spans(facts: &mut Facts) {
    let mut message = Incoming::default();
    message.topic = "orders.placed".to_owned();
    message.message_id = Some("0190b5d2-7e7a-7000-8000-000000000001".to_owned());
    message.key = Some("customer-7".to_owned());
    let delivery = Delivery::new(message, Vec::new());
    facts.record(|| drop(DeliverySpans::default().make("billing", &delivery)));
    facts.record(|| drop(transaction::batch_span("billing", "orders.placed", 20)));
}
