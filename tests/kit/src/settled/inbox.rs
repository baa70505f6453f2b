//! The records of a consumer's inbox.

use std::collections::HashMap;

use relay_core::publish::TopicPatterns;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::outbox::Message;

/// A consumer's inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Name of the consumer.
    pub(super) name: String,
    pub(super) pool: PgPool,
    /// Topics that the consumer takes.
    pub(super) topics: TopicPatterns,
    /// `true` if dead deliveries count as settled.
    pub(super) may_be_dead: bool,
}

/// A parked delivery.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    pub(super) id: i64,
    pub(super) message_id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) topic: String,
    pub(super) is_dead: bool,
    /// State, reason and attempts, for people.
    pub(super) what: String,
    pub(super) error: Option<String>,
}

/// The records of an inbox in one snapshot.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// For each message that was asked for: `true` if it is recorded.
    pub(super) recorded: Vec<bool>,
    pub(super) parked: Vec<Parked>,
}

impl Records {
    /// Finds the parked rows by message id and source.
    pub(super) fn parked_by_message(&self) -> HashMap<(&str, &str), &Parked> {
        let rows = self.parked.iter();
        let keyed = rows.filter_map(|row| {
            let key = (row.message_id.as_deref()?, row.source.as_deref()?);
            Some((key, row))
        });
        keyed.collect()
    }
}

// One statement, hence one snapshot: parking records the id too, so a message that is recorded here and has no parked
// row here was handled. Ids that are no UUID version 7, or too old, are recorded as hashes together with their source.
const RECORDS: &str = "
SELECT s.n, NULL AS id, NULL AS message_id, NULL AS source, NULL AS topic, NULL AS state, NULL AS reason,
       NULL AS attempts, NULL AS error
FROM unnest($2::uuid[], $3::text[], $4::smallint[]) WITH ORDINALITY AS s (message_id, source, slot, n)
WHERE EXISTS (SELECT FROM inbox.processed AS p
              WHERE p.consumer = $1 AND p.message_id = s.message_id AND p.slot = s.slot)
   OR EXISTS (SELECT FROM inbox.processed_other AS p
              WHERE p.consumer = $1 AND p.id_hash = sha256(
                  int8send(octet_length(s.source)) || convert_to(s.source || s.message_id::text, 'UTF8')))
UNION ALL
SELECT NULL, p.id, p.message_id, p.source, p.topic, p.state, p.reason, p.attempts, p.error
FROM inbox.parked AS p WHERE p.consumer = $1";

#[derive(FromRow)]
struct Row {
    n: Option<i64>,
    id: Option<i64>,
    message_id: Option<String>,
    source: Option<String>,
    topic: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    attempts: Option<i32>,
    error: Option<String>,
}

impl Inbox {
    /// Reads which of the messages are recorded, and all parked rows.
    pub(super) async fn records(&self, messages: &[&Message]) -> sqlx::Result<Records> {
        let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
        let slots: Vec<i16> = ids.iter().map(slot).collect();
        let sources: Vec<&str> = messages.iter().map(|message| &*message.source).collect();
        let query = sqlx::query_as(RECORDS)
            .bind(&self.name)
            .bind(ids)
            .bind(sources)
            .bind(slots);
        let rows: Vec<Row> = query.fetch_all(&self.pool).await?;
        let mut records = Records {
            recorded: vec![false; messages.len()],
            parked: Vec::new(),
        };
        for row in rows {
            match row.n {
                Some(n) => records.recorded[n as usize - 1] = true,
                None => records.parked.push(parked(row)),
            }
        }
        Ok(records)
    }
}

fn parked(row: Row) -> Parked {
    let (state, reason) = (
        row.state.unwrap_or_default(),
        row.reason.unwrap_or_default(),
    );
    Parked {
        id: row.id.unwrap_or_default(),
        message_id: row.message_id,
        source: row.source,
        topic: row.topic.unwrap_or_default(),
        is_dead: state == "dead",
        what: format!(
            "{state}: {reason}, attempts: {}",
            row.attempts.unwrap_or_default()
        ),
        error: row.error,
    }
}

/// Returns the leaf of `inbox.processed` for a UUID version 7: the day in the id, modulo 64. Other ids are not there.
fn slot(id: &Uuid) -> i16 {
    const DAY: u128 = 24 * 60 * 60 * 1000;
    let days = (id.as_u128() >> 80) / DAY;
    (days % 64) as i16
}
