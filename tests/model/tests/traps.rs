//! Each mistake that the protocol avoids breaks a property when it is put back.

use model::{Scenario, Trap, explore, property};

/// Fails unless the search finds a way to break the property.
fn breaks(property: &'static str, scenario: Scenario) {
    let found = explore::find(scenario, property);
    #[expect(clippy::print_stderr)]
    {
        eprintln!("{found}");
    }
    let why = "the mistake went unnoticed";
    assert!(found.path(property).is_some(), "{property}: {why}: {found}");
}

#[test]
fn trap_1_bounding_new_rows_by_the_highest_delivered_position_loses_a_row() {
    let scenario = Scenario::new([(1, 1), (2, 1)]);
    breaks(
        property::NO_LOSS,
        scenario.with_trap(Trap::HighestDeliveredPosition),
    );
}

#[test]
fn trap_2_ordering_by_transaction_id_turns_two_messages_of_a_key_around() {
    let scenario = Scenario::new([(1, 1), (1, 1)]);
    breaks(property::ORDER, scenario.with_trap(Trap::OrderByXid));
}

#[test]
fn trap_4_a_pair_read_within_its_transaction_loses_a_row() {
    let scenario = Scenario::new([(1, 1), (2, 1)]);
    breaks(
        property::NO_LOSS,
        scenario.with_trap(Trap::PairWithinTransaction),
    );
}

#[test]
fn trap_5_a_snapshot_kept_over_a_crash_of_the_database_hides_a_row() {
    let scenario = Scenario {
        database_crashes: 1,
        ..Scenario::new([(1, 1), (1, 1)])
    };
    breaks(
        property::NO_LOSS,
        scenario.with_trap(Trap::MemoryOutlivesConnection),
    );
}

#[test]
fn publishing_before_the_log_is_flushed_makes_a_ghost() {
    let scenario = Scenario {
        database_crashes: 1,
        ..Scenario::new([(1, 1)])
    };
    breaks(
        property::NO_GHOST,
        scenario.with_trap(Trap::PublishBeforeFlush),
    );
}

#[test]
fn recording_without_the_lock_takes_progress_back() {
    let scenario = Scenario {
        lost_leases: 1,
        ..Scenario::new([(1, 1)])
    };
    breaks(
        property::ONE_RECORDER,
        scenario.with_trap(Trap::RecordWithoutLock),
    );
}
