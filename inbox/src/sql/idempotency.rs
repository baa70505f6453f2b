//! Statements on `inbox.idempotency_key`, which holds the idempotency keys of handled events.

use statement::Link;

use crate::idempotency::EventKeys;

// Nothing is recorded outside of the delivery's transaction: a layer around the handler may have ended it. A key whose
// time is over counts as new, whether or not its row is deleted yet.
pub(crate) const RECORD: &str = "
WITH recorded AS (
    INSERT INTO inbox.idempotency_key AS k (consumer, type, key, message_id, expires_at)
    SELECT $1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text, $4::pg_catalog.text,
           pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+)
           ($5::double precision OPERATOR(pg_catalog.*) interval '1 second')
    WHERE pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text OPERATOR(pg_catalog.=) $6
    ON CONFLICT (consumer, type, key) DO UPDATE
    SET message_id = excluded.message_id, recorded_at = excluded.recorded_at, expires_at = excluded.expires_at
    WHERE k.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
    RETURNING 1)
SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text AS xid, EXISTS (SELECT FROM recorded) AS is_new";

// As RECORD. Sorted, so that two batches cannot deadlock. If a key occurs twice, the first occurrence is the new one.
pub(crate) const RECORD_ALL: &str = r#"
WITH asked AS (
    SELECT DISTINCT ON (a.key) a.key, a.message_id, a.n
    FROM (SELECT u.key COLLATE pg_catalog."C" AS key, u.message_id, u.n
          FROM ROWS FROM (pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.text[]))
               WITH ORDINALITY AS u (key, message_id, n)) AS a
    ORDER BY a.key, a.n),
recorded AS (
    INSERT INTO inbox.idempotency_key AS k (consumer, type, key, message_id, expires_at)
    SELECT $1::pg_catalog.text, $2::pg_catalog.text, a.key, a.message_id,
           pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+)
           ($5::double precision OPERATOR(pg_catalog.*) interval '1 second')
    FROM asked AS a
    WHERE pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text OPERATOR(pg_catalog.=) $6
    ORDER BY a.key
    ON CONFLICT (consumer, type, key) DO UPDATE
    SET message_id = excluded.message_id, recorded_at = excluded.recorded_at, expires_at = excluded.expires_at
    WHERE k.expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
    RETURNING k.key)
SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text AS xid,
       ARRAY(SELECT a.n FROM asked AS a JOIN recorded AS r ON r.key OPERATOR(pg_catalog.=) a.key ORDER BY a.n) AS new"#;

// The rows of all consumers, since those of a consumer that was removed or renamed have nobody else. A row that a handler
// is just recording anew is left out.
pub(crate) const EXPIRE: &str = "
DELETE FROM inbox.idempotency_key AS k WHERE k.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT e.ctid FROM inbox.idempotency_key AS e
    WHERE e.expires_at OPERATOR(pg_catalog.<=) (SELECT pg_catalog.clock_timestamp())
    ORDER BY e.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))";

/// Result of [`record`].
#[derive(Debug)]
pub(crate) struct RecordedKeys {
    /// Id of the open transaction; `None` if it has none. Nothing is recorded unless this is the expected id.
    pub(crate) xid: Option<String>,
    /// Numbers of the keys that were new, ascending; the first key of the request has number 1.
    new: Vec<i64>,
}

impl RecordedKeys {
    /// Returns `true` if the key at this index of the request was new.
    pub(crate) fn is_new(&self, index: usize) -> bool {
        self.new.binary_search(&(index as i64 + 1)).is_ok()
    }
}

/// Records keys in the transaction with the id `xid`. Waits while another open transaction has recorded one of them.
pub(crate) async fn record(
    link: &mut Link<'_>,
    consumer: &str,
    keys: &EventKeys,
    xid: &str,
) -> Result<RecordedKeys, sqlx::Error> {
    let seconds = keys.remember.seconds();
    let (xid, new) = if let [key] = &keys.keys[..] {
        let recording = link
            .query_as(RECORD)
            .bind(consumer)
            .bind(keys.type_name)
            .bind(&key.text)
            .bind(&key.message_id)
            .bind(seconds)
            .bind(xid);
        let (xid, is_new): (_, bool) = recording.fetch_one(link.connection()).await?;
        (xid, is_new.then_some(1).into_iter().collect())
    } else {
        let texts: Vec<&str> = keys.keys.iter().map(|key| key.text.as_str()).collect();
        let message_ids = keys.keys.iter().map(|key| key.message_id.as_deref());
        let recording = link
            .query_as(RECORD_ALL)
            .bind(consumer)
            .bind(keys.type_name)
            .bind(texts)
            .bind(message_ids.collect::<Vec<Option<&str>>>())
            .bind(seconds)
            .bind(xid);
        recording.fetch_one(link.connection()).await?
    };
    Ok(RecordedKeys { xid, new })
}

/// Deletes up to `limit` keys whose time is over; returns the number of deleted keys.
pub(crate) async fn expire(link: &mut Link<'_>, limit: i64) -> Result<u64, sqlx::Error> {
    let deleted = link
        .query(EXPIRE)
        .bind(limit)
        .execute(link.connection())
        .await?;
    Ok(deleted.rows_affected())
}
