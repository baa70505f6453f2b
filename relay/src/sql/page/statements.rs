//! The statements that read pages, one of each for each leaf.
//!
//! They are prepared once and their plans kept, so a plan may have been made while its leaf was empty and
//! must serve when it is full: every table is read by the only index that gives the order asked for,
//! since the settings of the session forbid sorting what can be read in order. A leaf is named
//! itself because a kept plan of the parent locks all leaves, each time it runs.
//!
//! Those of frames come in two forms. Most frames have no stragglers, and merging two sets takes a third
//! longer than reading one.

use crate::{
    capture::RING,
    sql::{message::expires_in, server::look_statement},
};

// The columns that `message::read` expects, and the body's size. Bodies larger than the argument stay
// behind, or a page of large ones would be more than memory should hold; sizes are known without
// fetching the bodies themselves.
macro_rules! columns {
    ($largest:literal) => {
        concat!(
            "m.position, m.message_id, m.topic, m.key, m.type, m.content_type, m.headers, m.occurred_at,
       CASE WHEN octet_length(m.payload) <= ",
            $largest,
            "::bigint THEN m.payload END,
       coalesce(m.deliver_after > clock_timestamp(), false),
       ",
            expires_in!("m"),
            ", m.deliver_after, octet_length(m.payload)"
        )
    };
}

// Rows of a leaf whose transactions a snapshot sees and the frontier knows nothing of, by (position). A
// parameter in a query of its own is parsed once instead of once for each row.
macro_rules! new_rows {
    ($leaf:literal, $snapshot:literal) => {
        concat!(
            "
SELECT ",
            columns!("$7"),
            "
FROM outbox.message_",
            $leaf,
            " AS m
WHERE m.position > greatest($1::bigint, $4::bigint) AND m.position <= $2
  AND m.xid >= (SELECT $5::text::xid8) AND pg_visible_in_snapshot(m.xid, (",
            $snapshot,
            ")) AND m.lane = $3
ORDER BY m.position LIMIT $6"
        )
    };
}

// Those and the stragglers' rows, merged by position. Each straggler's are read by (xid, position),
// compared as a whole: were xid said to be equal, its order would be that of the position alone, and
// the other index could give it too.
macro_rules! all_rows {
    ($leaf:literal, $snapshot:literal, $xids:literal, $floors:literal) => {
        concat!(
            "
(",
            new_rows!($leaf, $snapshot),
            ")
UNION ALL
(SELECT s.*
 FROM unnest(",
            $xids,
            "::text[], ",
            $floors,
            "::bigint[]) AS r (xid, floor)
 CROSS JOIN LATERAL (
     SELECT ",
            columns!("$7"),
            "
     FROM outbox.message_",
            $leaf,
            " AS m
     WHERE (m.xid, m.position) > (r.xid::xid8, greatest($1, r.floor))
       AND (m.xid, m.position) <= (r.xid::xid8, $2) AND m.lane = $3
     ORDER BY m.xid, m.position LIMIT $6) AS s
 WHERE pg_visible_in_snapshot(r.xid::xid8, (",
            $snapshot,
            ")))
ORDER BY position LIMIT $6"
        )
    };
}

macro_rules! new_page {
    ($leaf:literal) => {
        new_rows!($leaf, "SELECT $8::text::pg_snapshot")
    };
}

macro_rules! frame_page {
    ($leaf:literal) => {
        all_rows!($leaf, "SELECT $8::text::pg_snapshot", "$9", "$10")
    };
}

// A look and, in the same moment, what it shows: the statement's own snapshot is the frame's. The look
// is a row before the others; one after them says how far the log is flushed by then.
macro_rules! look_and {
    ($page:expr) => {
        concat!(
            "
WITH look (seen, inserted, flushed, upper, standbys) AS MATERIALIZED (",
            look_statement!(),
            ")
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, look.* FROM look
UNION ALL
SELECT page.*, NULL, NULL, NULL, NULL, NULL FROM (",
            $page,
            ") AS page
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, (pg_current_wal_flush_lsn() - '0/0')::bigint, NULL, NULL"
        )
    };
}

macro_rules! look_and_new_page {
    ($leaf:literal) => {
        look_and!(new_rows!($leaf, "SELECT seen::pg_snapshot FROM look"))
    };
}

macro_rules! look_and_page {
    ($leaf:literal) => {
        look_and!(all_rows!(
            $leaf,
            "SELECT seen::pg_snapshot FROM look",
            "$8",
            "$9"
        ))
    };
}

macro_rules! walk_page {
    ($leaf:literal) => {
        concat!(
            "
SELECT ",
            columns!("$5"),
            "
FROM outbox.message_",
            $leaf,
            " AS m
WHERE m.position > $1 AND m.position <= $2 AND m.lane = $3
ORDER BY m.position LIMIT $4"
        )
    };
}

macro_rules! bodies {
    ($leaf:literal) => {
        concat!(
            "
SELECT m.position, m.payload FROM outbox.message_",
            $leaf,
            " AS m WHERE m.position = ANY ($1) ORDER BY m.position"
        )
    };
}

pub(crate) const NEW_PAGE: [&str; RING as usize] = leaves!(new_page);
pub(crate) const FRAME_PAGE: [&str; RING as usize] = leaves!(frame_page);
pub(crate) const LOOK_AND_NEW_PAGE: [&str; RING as usize] = leaves!(look_and_new_page);
pub(crate) const LOOK_AND_PAGE: [&str; RING as usize] = leaves!(look_and_page);
pub(crate) const WALK_PAGE: [&str; RING as usize] = leaves!(walk_page);

/// The bodies of some rows of a leaf, by position.
pub(crate) const BODIES: [&str; RING as usize] = leaves!(bodies);
