//! The number of parked deliveries of untrusted publishers, which is limited.

use statement::Link;

// Until the transaction ends, no other one counts: otherwise both could add the last row.
pub(crate) const LOCK_UNTRUSTED: &str = "
SELECT pg_catalog.pg_advisory_xact_lock(
           pg_catalog.hashtextextended('postroom inbox untrusted ' OPERATOR(pg_catalog.||) $1, 0))";

pub(crate) const COUNT_UNTRUSTED: &str = "
SELECT pg_catalog.count(*)
FROM (SELECT FROM inbox.parked AS p
      WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.reason OPERATOR(pg_catalog.=) 'untrusted'
      LIMIT $2) AS kept";

/// Returns the number of the consumer's parked untrusted deliveries, at most `limit`. The number stays true until the
/// transaction ends.
pub(crate) async fn untrusted(
    link: &mut Link<'_>,
    consumer: &str,
    limit: i64,
) -> Result<i64, sqlx::Error> {
    link.query(LOCK_UNTRUSTED)
        .bind(consumer)
        .execute(link.connection())
        .await?;
    // A later statement, which sees what was committed before the lock was granted.
    link.query_scalar(COUNT_UNTRUSTED)
        .bind(consumer)
        .bind(limit)
        .fetch_one(link.connection())
        .await
}
