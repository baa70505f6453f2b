//! All statements of the relay, for tests: they are prepared against a real schema as the unprivileged
//! role, and their plans are checked under the settings with which they run.
//!
//! Not part of the public interface.

use crate::{
    database::{self, Purpose},
    ops::{
        check::{foreign, privileges},
        config_args, migrate, parked as parked_command, status,
    },
    sql::{checkpoint, holder, message, page, parked, segment, server},
};

/// All statements with their names.
pub const ALL: &[(&str, &str)] = &[
    ("checkpoint::CLEAR", checkpoint::CLEAR),
    ("checkpoint::LATEST", checkpoint::LATEST),
    ("checkpoint::RECORD", checkpoint::RECORD),
    ("checkpoint::RECORD_AND_PARK", checkpoint::RECORD_AND_PARK),
    ("checkpoint::TRIM", checkpoint::TRIM),
    ("holder::LEASE_HOLDERS", holder::LEASE_HOLDERS),
    ("message::FROM_AHEAD", message::FROM_AHEAD),
    ("message::BELOW", message::BELOW),
    ("message::WAITING", message::WAITING),
    ("parked::ABOVE", parked::ABOVE),
    ("parked::BY_KEY", parked::BY_KEY),
    ("parked::BY_POSITION", parked::BY_POSITION),
    ("parked::COUNTS", parked::COUNTS),
    ("parked::COUNT_WITHIN", parked::COUNT_WITHIN),
    ("parked::DUE", parked::DUE),
    ("parked::HELD", parked::HELD),
    ("parked::NOW", parked::NOW),
    ("segment::ADVANCE", segment::ADVANCE),
    ("segment::BEGUN", segment::BEGUN),
    ("segment::CURRENT", segment::CURRENT),
    ("segment::EXPIRABLE", segment::EXPIRABLE),
    ("segment::FORGET", segment::FORGET),
    ("segment::HIGHEST", segment::HIGHEST),
    ("segment::IS_EMPTY", segment::IS_EMPTY),
    ("segment::IS_TAKEN", segment::IS_TAKEN),
    ("segment::LIMIT_LOCK_WAIT", segment::LIMIT_LOCK_WAIT),
    ("segment::ROTATE", segment::ROTATE),
    ("segment::SEQUENCE", segment::SEQUENCE),
    ("segment::TAKEN_TWICE", segment::TAKEN_TWICE),
    ("server::ASSIGN_XID", server::ASSIGN_XID),
    ("server::BACKEND_PID", server::BACKEND_PID),
    ("server::FLUSHED", server::FLUSHED),
    ("server::HOLDS_LOCK", server::HOLDS_LOCK),
    ("server::IDENTITY", server::IDENTITY),
    ("server::IN_FORCE", server::IN_FORCE),
    ("server::IN_RECOVERY", server::IN_RECOVERY),
    ("server::LOOK", server::LOOK),
    ("server::NAME_SESSION", server::NAME_SESSION),
    ("server::OPEN_BEFORE", server::OPEN_BEFORE),
    ("server::SNAPSHOT", server::SNAPSHOT),
    ("server::SUBSCRIBED", server::SUBSCRIBED),
    ("server::TRY_LOCK", server::TRY_LOCK),
    ("foreign::FOREIGN", foreign::FOREIGN),
    ("privileges::MISSING", privileges::MISSING),
    ("migrate::LOCK", migrate::LOCK),
    ("migrate::SEARCH", migrate::SEARCH),
    ("parked::DISCARD", parked_command::DISCARD),
    ("parked::LIST", parked_command::LIST),
    ("parked::RETRY", parked_command::RETRY),
    ("parked::SHOW", parked_command::SHOW),
    (
        "config_args::SET_LOCK_TIMEOUT",
        config_args::SET_LOCK_TIMEOUT,
    ),
    ("status::BLOCKED", status::BLOCKED),
    ("status::PARKED", status::PARKED),
];

/// Statements that truncate one leaf each.
pub const TRUNCATE: &[&str] = &segment::TRUNCATE;

/// Statements that lock one leaf each.
pub const LOCK: &[&str] = &segment::LOCK;

/// Statements that check one leaf each for rows of later segments.
pub const HOLDS_ABOVE: &[&str] = &segment::HOLDS_ABOVE;

/// Statements that read a page of a frame without stragglers, one for each leaf.
pub const NEW_PAGE: &[&str] = &page::NEW_PAGE;

/// Statements that read a page of a frame, one for each leaf.
pub const FRAME_PAGE: &[&str] = &page::FRAME_PAGE;

/// Statements that take a snapshot and read the first page of its frame if no transaction was running in
/// the last delivered snapshot, one for each leaf.
pub const LOOK_AND_NEW_PAGE: &[&str] = &page::LOOK_AND_NEW_PAGE;

/// Statements that take a snapshot and read the first page of its frame, one for each leaf.
pub const LOOK_AND_PAGE: &[&str] = &page::LOOK_AND_PAGE;

/// Statements that read a page of the walk after a rebase, one for each leaf.
pub const WALK_PAGE: &[&str] = &page::WALK_PAGE;

/// Statements that fetch the bodies of some rows, one for each leaf.
pub const BODIES: &[&str] = &page::BODIES;

/// Statement that finds parked rows that are due.
pub const DUE: &str = parked::DUE;

/// Statement that takes a snapshot and returns the highest allocated position, which is the fourth column.
pub const LOOK: &str = server::LOOK;

/// Returns the settings of the connection that reads frames.
pub fn frames_settings() -> Vec<(&'static str, String)> {
    database::settings(Purpose::Frames)
}

/// Returns the settings of the connection that reads parked rows.
pub fn reader_settings() -> Vec<(&'static str, String)> {
    database::settings(Purpose::Reader)
}
