//! Every SQL statement that the relay runs, for administrators who want to know what runs in their database, and how
//! it is planned.
//!
//! A plan depends on the session's settings: set those of [`frames_settings`] or [`reader_settings`] before
//! `EXPLAIN`. Texts and names may change with any release.

use crate::store::{
    self, Purpose, checkpoint, dropped, holder, lock, message, migration, page,
    parked::{operate, read},
    rights, segment, server,
};

/// Lists constants of modules, each with its name.
macro_rules! named {
    ($($module:ident: $($name:ident)+;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), &$module::$name),)+)+]
    };
}

/// Statements with their names.
pub const ALL: &[(&str, &str)] = named! {
    checkpoint: CLEAR LATEST RECORD RECORD_AND_DROP RECORD_AND_PARK TRIM;
    dropped: FORGET_ABOVE;
    holder: LEASE_HOLDERS;
    lock: HOLDS_LOCK TRY_LOCK;
    message: BELOW FROM_AHEAD WAITING;
    migration: BEGIN EXISTS LIMIT_LOCK_WAIT LOCK SEARCH VERSION;
    operate: BLOCKED BY_REASON DISCARD LIST RETRY SHOW;
    read: ABOVE BY_KEY BY_POSITION COUNTS COUNT_WITHIN DUE HELD;
    rights: FOREIGN MISSING;
    segment: ADVANCE BEGUN CURRENT EXPIRABLE FORGET HIGHEST IS_EMPTY IS_TAKEN LIMIT_LOCK_WAIT ROTATE
        SEQUENCE TAKEN_TWICE;
    server: ASSIGN_XID BACKEND_PID FLUSHED IDENTITY IN_FORCE IN_RECOVERY LIMIT_LOCK_WAIT LOOK
        NAME_SESSION NOW OPEN_BEFORE SNAPSHOT SUBSCRIBED;
};

/// Statements on one leaf of `outbox.message`, with their names; each has a text for each leaf, because a table name
/// cannot be a parameter.
pub const OF_LEAVES: &[(&str, &[&str])] = named! {
    page: BODIES FRAME_PAGE LOOK_AND_NEW_PAGE LOOK_AND_PAGE NEW_PAGE WALK_PAGE;
    segment: HOLDS_ABOVE LOCK TRUNCATE;
};

/// Returns the settings of the session `postroom-relay reader`, which reads frames.
pub fn frames_settings() -> Vec<(&'static str, String)> {
    store::settings(Purpose::Frames)
}

/// Returns the settings of the session `postroom-relay parked`, which reads parked rows.
pub fn reader_settings() -> Vec<(&'static str, String)> {
    store::settings(Purpose::Reader)
}
