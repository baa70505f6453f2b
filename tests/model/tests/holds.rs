//! Every property holds in every state, whatever fails within the bounds.

use model::{Scenario, explore, property};

/// Fails if a property that must always hold is broken, or if an event of `happens` does not occur.
fn holds(scenario: Scenario, happens: &[&str]) {
    let found = explore::exhaust(scenario);
    #[expect(clippy::print_stderr)]
    {
        eprintln!("{found}");
    }
    for property in property::ALWAYS {
        let broken = found.path(property).is_some();
        assert!(!broken, "{property} is broken: {found}");
    }
    for property in happens {
        let happened = found.path(property).is_some();
        assert!(happened, "{property} does not happen: {found}");
    }
}

#[test]
fn producers_commit_in_any_order_while_frames_are_read() {
    let scenario = Scenario {
        records: 1,
        open_frames: 1,
        ..Scenario::new([(1, 1), (1, 1), (2, 1)])
    };
    let happens = [
        property::ALL_DELIVERED,
        property::STRAGGLER,
        property::BELOW,
        property::REPEAT,
    ];
    holds(scenario, &happens);
}

#[test]
fn a_straggler_of_several_rows_is_delivered_whole() {
    let scenario = Scenario::new([(1, 2), (2, 1)]);
    let happens = [
        property::ALL_DELIVERED,
        property::STRAGGLER,
        property::BELOW,
    ];
    holds(scenario, &happens);
}

#[test]
fn a_relay_crashes_between_any_two_steps() {
    let scenario = Scenario {
        relay_crashes: 1,
        ..Scenario::new([(1, 1), (2, 1)])
    };
    let happens = [
        property::ALL_DELIVERED,
        property::STRAGGLER,
        property::REPEAT,
    ];
    holds(scenario, &happens);
}

#[test]
fn the_database_crashes_and_hands_out_ids_again() {
    let scenario = Scenario {
        database_crashes: 1,
        ..Scenario::new([(1, 1), (1, 1)])
    };
    let happens = [
        property::ALL_DELIVERED,
        property::REPEAT,
        property::COMMIT_LOST,
        property::XID_REUSED,
    ];
    holds(scenario, &happens);
}

#[test]
fn an_old_holder_wakes_up_beside_a_new_one() {
    let scenario = Scenario {
        lost_leases: 1,
        records: 2,
        open_frames: 1,
        ..Scenario::new([(1, 1), (1, 1)])
    };
    let happens = [
        property::ALL_DELIVERED,
        property::REPEAT,
        property::OLD_HOLDER,
    ];
    holds(scenario, &happens);
}

#[test]
fn the_database_and_a_relay_crash_and_an_old_holder_wakes_up() {
    let scenario = Scenario {
        database_crashes: 1,
        relay_crashes: 1,
        lost_leases: 1,
        ..Scenario::new([(1, 1)])
    };
    let happens = [
        property::ALL_DELIVERED,
        property::REPEAT,
        property::OLD_HOLDER,
    ];
    holds(scenario, &happens);
}
