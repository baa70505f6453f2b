//! Properties that must hold in every state, and events that must occur in some state.

use stateright::Property;

use crate::{
    Protocol,
    checkpoint::covers,
    frame::{RowState, committed_rows},
    session::Session,
    world::World,
    writer::{Stage, Writer},
};

/// No message is at the broker that a crash of the database could still undo.
pub const NO_GHOST: &str = "G2: no ghost";
/// If nothing is left to do, the broker has every committed message.
pub const NO_LOSS: &str = "G3: no loss";
/// A checkpoint covers only rows that the broker has, so a new relay may begin there.
pub const NOTHING_SKIPPED: &str = "G3: a checkpoint covers only what the broker has";
/// The broker first takes the messages of a key in commit order.
pub const ORDER: &str = "G4: order";
/// An old holder of the lease cannot undo a newer holder's progress.
pub const ONE_RECORDER: &str = "G7: a checkpoint never tells less than the one before it";
/// A relay treats a checkpoint ahead of the server as another server's and refuses it.
pub const CAN_START: &str = "a checkpoint is never ahead of the server";

/// A later transaction never has a lower floor; otherwise a poll would read delivered rows again.
pub const FLOORS_RISE: &str = "G6: floors rise";

/// All properties that must hold in every state.
pub const ALWAYS: [&str; 7] = [
    NO_GHOST,
    NO_LOSS,
    NOTHING_SKIPPED,
    ORDER,
    ONE_RECORDER,
    CAN_START,
    FLOORS_RISE,
];

/// Nothing is left to do, and no producer rolled back.
pub const ALL_DELIVERED: &str = "all is delivered";
/// A row that the broker has is about to be sent again.
pub const REPEAT: &str = "a message is sent again";
/// A row is sent whose transaction was running in the last delivered snapshot.
pub const STRAGGLER: &str = "a straggler is sent";
/// A row is sent below the position of a row recorded as delivered.
pub const BELOW: &str = "a position below a delivered one is sent";
/// A crash of the database undoes a visible commit.
pub const COMMIT_LOST: &str = "a visible commit is lost";
/// A transaction commits with an id that was assigned before a crash of the database.
pub const XID_REUSED: &str = "a transaction id is handed out again";
/// A relay publishes although another relay holds the lease.
pub const OLD_HOLDER: &str = "an old holder wakes up and publishes";

pub(crate) fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NO_GHOST, |_, world| no_ghost(world)),
        Property::always(NO_LOSS, |_, world| !is_quiescent(world) || has_all(world)),
        Property::always(NOTHING_SKIPPED, |_, world| nothing_skipped(world)),
        Property::always(ORDER, |_, world| is_ordered(world)),
        Property::always(ONE_RECORDER, |_, world: &World| !world.checkpoint_went_back),
        Property::always(CAN_START, |_, world| can_start(world)),
        Property::always(FLOORS_RISE, |_, world| floors_rise(world)),
        Property::sometimes(ALL_DELIVERED, |_, world| all_delivered(world)),
        Property::sometimes(REPEAT, |_, world| repeats(world)),
        Property::sometimes(STRAGGLER, |_, world| sends_straggler(world)),
        Property::sometimes(BELOW, |_, world| sends_below(world)),
        Property::sometimes(COMMIT_LOST, |_, world| loses_commit(world)),
        Property::sometimes(XID_REUSED, |_, world| reuses_xid(world)),
        Property::sometimes(OLD_HOLDER, |_, world| old_holder_publishes(world)),
    ]
}

fn no_ghost(world: &World) -> bool {
    world.broker.iter().all(|&(writer, _)| {
        let stage = world.database.writers[writer].stage;
        matches!(stage, Stage::Committed | Stage::Logged)
            && !world.database.log.may_lose_commit_of(writer)
    })
}

/// Returns `true` if no transaction is open, and the lease's holder has no unconfirmed row and no row to
/// read.
fn is_quiescent(world: &World) -> bool {
    let is_open = |writer: &Writer| writer.is_running() && writer.has_begun();
    if world.database.writers.iter().any(is_open) {
        return false;
    }
    let Some(session) = holder(world) else {
        return false;
    };
    session.rows().all(|row| row.state == RowState::Confirmed)
        && !session.read.misses_any_of(&world.database.snapshot())
}

fn holder(world: &World) -> Option<&Session> {
    world.relays[world.database.holder?].as_ref()
}

fn has_all(world: &World) -> bool {
    committed_rows(&world.database).all(|row| world.broker.contains(&row.message))
}

fn all_delivered(world: &World) -> bool {
    is_quiescent(world) && world.broker.len() == world.messages()
}

fn nothing_skipped(world: &World) -> bool {
    let Some(checkpoint) = &world.database.checkpoint else {
        return true;
    };
    committed_rows(&world.database)
        .filter(|row| covers(checkpoint, row.xid, row.position))
        .all(|row| world.broker.contains(&row.message))
}

fn is_ordered(world: &World) -> bool {
    let order = |&(writer, index): &(usize, usize)| {
        let writer = &world.database.writers[writer];
        (writer.key, writer.order, index)
    };
    let orders: Vec<_> = world.broker.iter().map(order).collect();
    orders.iter().enumerate().all(|(index, later)| {
        let same_key = orders[..index]
            .iter()
            .filter(|earlier| earlier.0 == later.0);
        same_key.into_iter().all(|earlier| earlier < later)
    })
}

fn can_start(world: &World) -> bool {
    let xmax = world.database.snapshot().xmax();
    let checkpoint = world.database.checkpoint.as_ref();
    checkpoint.is_none_or(|checkpoint| checkpoint.delivered.xmax() <= xmax)
}

fn floors_rise(world: &World) -> bool {
    sessions(world).all(|session| {
        let pairs = session.floors.pairs();
        pairs.is_sorted_by_key(|pair| pair.position)
    })
}

fn sessions(world: &World) -> impl Iterator<Item = &Session> {
    world.relays.iter().flatten()
}

fn repeats(world: &World) -> bool {
    let mut rows = sessions(world).flat_map(Session::rows);
    rows.any(|row| row.state == RowState::Waiting && world.broker.contains(&row.message))
}

fn sends_straggler(world: &World) -> bool {
    sessions(world).any(|session| {
        let late = session.delivered.running();
        let mut sent = session.rows().filter(|row| row.state == RowState::Sent);
        sent.any(|row| late.contains(&row.xid))
    })
}

fn sends_below(world: &World) -> bool {
    sessions(world).any(|session| {
        let mut sent = session.rows().filter(|row| row.state == RowState::Sent);
        sent.any(|row| {
            committed_rows(&world.database).any(|other| {
                other.position > row.position
                    && session.delivered.sees(other.xid)
                    && world.broker.contains(&other.message)
            })
        })
    })
}

fn loses_commit(world: &World) -> bool {
    let lost = |writer: &Writer| writer.stage == Stage::RolledBack && writer.order.is_some();
    world.database.writers.iter().any(lost)
}

fn reuses_xid(world: &World) -> bool {
    let writers = &world.database.writers;
    writers.iter().enumerate().any(|(number, writer)| {
        let same = |other: &Writer| other.xid.is_some() && other.xid == writer.xid;
        writer.is_committed() && writers[..number].iter().any(same)
    })
}

fn old_holder_publishes(world: &World) -> bool {
    let Some(holder) = world.database.holder else {
        return false;
    };
    let old = world
        .relays
        .iter()
        .enumerate()
        .filter(|(relay, _)| *relay != holder);
    let mut sessions = old.filter_map(|(_, session)| session.as_ref());
    sessions.any(|session| session.rows().any(|row| row.state == RowState::Sent))
}
