//! Statements that read pages, each in one version per leaf.
//!
//! A statement is prepared once and its plan kept, so a plan made while a leaf was empty must also serve when
//! the leaf is full. The session's settings forbid sorting what an index can read in order, so each table is
//! read by the only index with the requested order. The statements name a leaf because a kept plan on the
//! parent table locks all leaves each time it runs.
//!
//! Statements that read frames exist in two forms, with and without stragglers. Most frames have no stragglers, and
//! merging two sets takes a third longer than reading one.

use relay_core::capture::RING;

use crate::store::{message::expires_in, server::look_statement};

// The columns that `message::read` expects, and the body's size. Bodies larger than the argument are NULL and
// fetched later, to limit a page's memory. The server knows the size of a body without reading the body.
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

// Rows of a leaf whose transactions the snapshot sees and the frontier does not cover, by (position). A parameter
// in a sub-query is parsed once instead of once per row.
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

// The new rows and the stragglers' rows, merged by position. A straggler's rows are read by (xid, position), compared
// as a whole: with `xid =` the order would be by position alone, and the planner could choose the other index.
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

// Takes a snapshot and reads the page of the same snapshot in one statement. The first row is the look, then follow
// the page's rows; the last row holds the position up to which the log is flushed by then.
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

/// Reads the bodies of some rows of a leaf, by position.
pub(crate) const BODIES: [&str; RING as usize] = leaves!(bodies);
