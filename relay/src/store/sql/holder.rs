//! The sessions that hold a lease's lock.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::lock::LOCK_CLASS;

// Any login may take the lock, in one session, shared by several, or in a transaction that it prepares. PostgreSQL shows
// a session's user and name to all users, and its address and start time only to the session's user. A session can act
// as relay if one of the roles that its user is a member of can, which PostgreSQL lets the user set. The catalogue is
// read, since the functions that take a table's name fail if this user may not use the schema.
pub(crate) const LEASE_HOLDERS: &str = "
SELECT l.pid, p.gid, coalesce(a.usename::text, p.owner::text, '') AS user,
       coalesce(a.application_name, '') AS session, host(a.client_addr) AS address, a.backend_start AS since,
       EXISTS (SELECT FROM pg_roles AS r
               WHERE pg_has_role(a.usesysid, r.oid, 'MEMBER')
                 AND (SELECT count(*) = 3 AND bool_and(
                                 has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_table_privilege(
                                     r.oid, c.oid, CASE c.relname WHEN 'message' THEN 'SELECT' ELSE 'INSERT' END))
                      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'outbox' AND c.relname IN ('message', 'checkpoint', 'parked'))) AS may_act
FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_locks AS x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
                       AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = x.transactionid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1::integer::oid
  AND l.objid = $2::integer::oid AND l.objsubid = 2 AND d.datname = current_database()
ORDER BY l.pid";

/// Beginning of the names of a relay's sessions.
const RELAY: &str = "postroom-relay";

/// Suffix of the name of the lease's session while another connection holds the fence at the broker.
pub(crate) const FENCED: &str = " fenced";

/// A session, or a prepared transaction, that holds a lease's lock.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct LeaseHolder {
    /// Process id of the session; `None` for a prepared transaction.
    pid: Option<i32>,
    /// Name of the prepared transaction.
    gid: Option<String>,
    user: String,
    /// Name of the session, which its client chooses.
    session: String,
    address: Option<String>,
    since: Option<DateTime<Utc>>,
    /// `true` if the user has the rights of a relay.
    may_act: bool,
}

impl LeaseHolder {
    /// Returns the name of the relay's session: lane, host and process.
    pub(crate) fn name(&self) -> &str {
        self.session.strip_suffix(FENCED).unwrap_or(&self.session)
    }

    /// Returns `true` while another connection holds the relay's fence at the broker.
    pub(crate) fn is_fenced(&self) -> bool {
        self.session.ends_with(FENCED)
    }

    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub(crate) const fn since(&self) -> Option<DateTime<Utc>> {
        self.since
    }

    /// Returns the problem if the holder is no relay: then no relay can take the lease, and nothing is published.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { user, session, .. } = self;
        let Some(pid) = self.pid else {
            let gid = self.gid.as_deref().unwrap_or_default();
            let quoted = gid.replace('\'', "''");
            return Some(format!(
                "no relay can publish: the lock of the lease is held by the prepared transaction {gid:?} of the user {user:?}; run ROLLBACK PREPARED '{quoted}'"
            ));
        };
        let problem = match (self.may_act, session.starts_with(RELAY)) {
            (true, true) => return None,
            (false, _) => "has not the rights of a relay",
            (true, false) => "is no relay",
        };
        let keep_out = if self.may_act {
            ""
        } else {
            ", and keep other logins out: REVOKE CONNECT ON DATABASE … FROM PUBLIC"
        };
        Some(format!(
            "no relay can publish: the lock of the lease is held by the session {session:?} of the user {user:?}, which {problem}; end it: SELECT pg_terminate_backend({pid}){keep_out}"
        ))
    }
}

/// Returns the holders of the lane's lease: one relay, if all is well.
pub(crate) async fn lease_holders(
    connection: &mut PgConnection,
    lane: i16,
) -> Result<Vec<LeaseHolder>, sqlx::Error> {
    sqlx::query_as(LEASE_HOLDERS)
        .bind(LOCK_CLASS)
        .bind(i32::from(lane))
        .fetch_all(connection)
        .await
}

/// Returns the problem of the first holder that is no relay; `None` if there is no such holder.
pub(crate) fn problem(holders: &[LeaseHolder]) -> Option<String> {
    holders.iter().find_map(LeaseHolder::problem)
}

#[cfg(test)]
mod tests {
    use super::LeaseHolder;

    fn holder(pid: Option<i32>, session: &str, may_act: bool) -> LeaseHolder {
        LeaseHolder {
            pid,
            gid: Some("it's".to_owned()),
            user: "joe".to_owned(),
            session: session.to_owned(),
            address: None,
            since: None,
            may_act,
        }
    }

    #[test]
    fn a_holder_that_is_no_relay_is_named_with_the_way_out() {
        let problem = |pid, session, may_act| holder(pid, session, may_act).problem();
        let relay = "postroom-relay lane 0 host:7";
        assert_eq!(problem(Some(7), relay, true), None);
        let forged = problem(Some(7), relay, false).unwrap();
        assert!(forged.contains("REVOKE CONNECT"), "{forged}");
        let psql = problem(Some(7), "psql", true).unwrap();
        assert!(psql.ends_with("SELECT pg_terminate_backend(7)"), "{psql}");
        let prepared = problem(None, "", false).unwrap();
        assert!(
            prepared.ends_with("ROLLBACK PREPARED 'it''s'"),
            "{prepared}"
        );
    }
}
