//! The statement by which callers wait until a consumer has handled messages.

use sqlx::FromRow;
use statement::Link;
use uuid::Uuid;

use crate::dedup::{Id, Record};

// A message outside the dedup window is recorded by its hash, whatever its id.
pub(crate) const LOOK: &str = "
SELECT EXISTS (SELECT FROM inbox.processed AS r
               WHERE (r.consumer, r.message_id, r.slot) OPERATOR(pg_catalog.=) ($1, a.uuid, a.slot))
       OR EXISTS (SELECT FROM inbox.processed_other AS o
                  WHERE (o.consumer, o.id_hash) OPERATOR(pg_catalog.=) ($1, a.hash)) AS is_recorded,
       p.state, p.reason
FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.uuid[]), pg_catalog.unnest($3::smallint[]),
                pg_catalog.unnest($4::pg_catalog.bytea[]), pg_catalog.unnest($5::pg_catalog.text[]))
     WITH ORDINALITY AS a (uuid, slot, hash, message_id, n)
LEFT JOIN LATERAL (SELECT q.state, q.reason FROM inbox.parked AS q
                   WHERE (q.consumer, q.message_id) OPERATOR(pg_catalog.=) ($1, a.message_id)
                     AND q.reason OPERATOR(pg_catalog.<>) 'untrusted'
                   LIMIT 1) AS p ON true
ORDER BY a.n";

/// Records of one message.
#[derive(Debug, FromRow)]
pub(crate) struct Found {
    /// `true` if the message was handled or parked.
    pub(crate) is_recorded: bool,
    /// State of its parked row; `None` if it has none.
    pub(crate) state: Option<String>,
    /// Reason of the parking.
    pub(crate) reason: Option<String>,
}

/// Returns the records of messages, each a text with its parsed id, in the same order.
pub(crate) async fn look(
    link: &mut Link<'_>,
    consumer: &str,
    ids: &[(String, Id)],
) -> Result<Vec<Found>, sqlx::Error> {
    let ring = ids.iter().map(|(_, id)| match id.record() {
        Record::Ring { uuid, slot } => (Some(uuid), Some(slot)),
        Record::Hashed { .. } => (None, None),
    });
    let (uuids, slots): (Vec<Option<Uuid>>, Vec<Option<i16>>) = ring.unzip();
    let hashes: Vec<Vec<u8>> = ids.iter().map(|(_, id)| id.hash().to_vec()).collect();
    let texts: Vec<&str> = ids.iter().map(|(text, _)| text.as_str()).collect();
    link.query_as(LOOK)
        .bind(consumer)
        .bind(uuids)
        .bind(slots)
        .bind(hashes)
        .bind(texts)
        .fetch_all(link.connection())
        .await
}
