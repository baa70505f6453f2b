//! The statements that read pages, one of each for each leaf.
//!
//! They are prepared once and their plans kept, so a plan may have been made while its leaf was empty and
//! must serve when it is full: every table is read by the only index that gives the order asked for,
//! since the settings of the session forbid sorting what can be read in order. A leaf is named
//! itself because a kept plan of the parent locks all leaves, each time it runs.

use crate::{capture::RING, sql::server::look_statement};

// The rows of a leaf beyond a frontier that a snapshot sees; the snapshot is what the argument returns.
//
// Two sets, merged by position. Each must be read by its own index and end at the limit:
//  - new rows by (position);
//  - each straggler's rows by (xid, position), compared as a whole: were xid said to be equal, its
//    order would be that of the position alone, and the other index could give it too.
// The last condition ends a page once its bodies are large; sizes are known without fetching the
// bodies themselves. A parameter in a query of its own is parsed once instead of once for each row.
macro_rules! rows_seen_by {
    ($leaf:literal, $snapshot:literal) => {
        concat!(
            "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, q.scheduled, q.expired, q.deliver_after IS NOT NULL AS timed
FROM (
    SELECT f.*, coalesce(f.deliver_after > clock_timestamp(), false) AS scheduled,
           coalesce(f.expires_at <= clock_timestamp(), false) AS expired,
           sum(octet_length(f.payload)) OVER (ORDER BY f.position ROWS UNBOUNDED PRECEDING)
               - octet_length(f.payload) AS bytes_before
    FROM (
        (SELECT m.* FROM outbox.message_",
            $leaf,
            " AS m
         WHERE m.position > greatest($1::bigint, $4::bigint) AND m.position <= $2
           AND m.xid >= (SELECT $5::text::xid8)
           AND pg_visible_in_snapshot(m.xid, (",
            $snapshot,
            ")) AND m.lane = $3
         ORDER BY m.position LIMIT $8)
        UNION ALL
        (SELECT s.* FROM unnest($6::text[], $7::bigint[]) AS r (xid, floor)
         CROSS JOIN LATERAL (
             SELECT m.* FROM outbox.message_",
            $leaf,
            " AS m
             WHERE (m.xid, m.position) > (r.xid::xid8, greatest($1, r.floor))
               AND (m.xid, m.position) <= (r.xid::xid8, $2) AND m.lane = $3
             ORDER BY m.xid, m.position LIMIT $8) AS s
         WHERE pg_visible_in_snapshot(r.xid::xid8, (",
            $snapshot,
            ")))
        ORDER BY position LIMIT $8
    ) AS f
) AS q
WHERE q.bytes_before < $9
ORDER BY q.position"
        )
    };
}

macro_rules! frame_page {
    ($leaf:literal) => {
        rows_seen_by!($leaf, "SELECT $10::text::pg_snapshot")
    };
}

// A look and, in the same moment, what it shows: the statement's own snapshot is the frame's. The look
// is a row before the others; one after them says how far the log is flushed by then.
macro_rules! look_and_page {
    ($leaf:literal) => {
        concat!(
            "
WITH look (seen, inserted, flushed, upper, standbys) AS MATERIALIZED (",
            look_statement!(),
            ")
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, look.* FROM look
UNION ALL
SELECT page.*, NULL, NULL, NULL, NULL, NULL FROM (",
            rows_seen_by!($leaf, "SELECT seen::pg_snapshot FROM look"),
            ") AS page
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, (pg_current_wal_flush_lsn() - '0/0')::bigint, NULL, NULL"
        )
    };
}

macro_rules! walk_page {
    ($leaf:literal) => {
        concat!(
            "
SELECT q.position, q.message_id, q.topic, q.key, q.type, q.content_type, q.headers, q.occurred_at,
       q.payload, q.scheduled, q.expired, q.deliver_after IS NOT NULL
FROM (
    SELECT f.*, coalesce(f.deliver_after > clock_timestamp(), false) AS scheduled,
           coalesce(f.expires_at <= clock_timestamp(), false) AS expired,
           sum(octet_length(f.payload)) OVER (ORDER BY f.position ROWS UNBOUNDED PRECEDING)
               - octet_length(f.payload) AS bytes_before
    FROM (SELECT m.* FROM outbox.message_",
            $leaf,
            " AS m
          WHERE m.position > $1 AND m.position <= $2 AND m.lane = $3
          ORDER BY m.position LIMIT $4) AS f
) AS q
WHERE q.bytes_before < $5
ORDER BY q.position"
        )
    };
}

pub(crate) const FRAME_PAGE: [&str; RING as usize] = leaves!(frame_page);
pub(crate) const LOOK_AND_PAGE: [&str; RING as usize] = leaves!(look_and_page);
pub(crate) const WALK_PAGE: [&str; RING as usize] = leaves!(walk_page);
