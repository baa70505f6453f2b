//! The database: reached, migrated, and the user may do what it must.

use sqlx::PgConnection;

use super::{Finding, note};
use crate::{
    config::Config,
    database::{self, Purpose},
    identity::Recognised,
    sql::{checkpoint, server},
};

const LANE: i16 = 0;

pub(crate) const PRIVILEGES: &str = "
SELECT p.what FROM (VALUES
    ('USAGE on schema outbox', has_schema_privilege('outbox', 'USAGE')),
    ('SELECT on outbox.message', has_table_privilege('outbox.message', 'SELECT')),
    ('SELECT, INSERT, DELETE on outbox.checkpoint',
     has_table_privilege('outbox.checkpoint', 'SELECT') AND
     has_table_privilege('outbox.checkpoint', 'INSERT') AND
     has_table_privilege('outbox.checkpoint', 'DELETE')),
    ('SELECT, INSERT, UPDATE, DELETE on outbox.parked',
     has_table_privilege('outbox.parked', 'SELECT') AND
     has_table_privilege('outbox.parked', 'INSERT') AND
     has_table_privilege('outbox.parked', 'UPDATE') AND
     has_table_privilege('outbox.parked', 'DELETE')),
    ('SELECT, INSERT, DELETE on outbox.segment',
     has_table_privilege('outbox.segment', 'SELECT') AND
     has_table_privilege('outbox.segment', 'INSERT') AND
     has_table_privilege('outbox.segment', 'DELETE')),
    ('SELECT, UPDATE on sequence outbox.message_position',
     has_sequence_privilege('outbox.message_position', 'SELECT') AND
     has_sequence_privilege('outbox.message_position', 'UPDATE')),
    ('TRUNCATE on the leaves of outbox.message',
     has_table_privilege('outbox.message_00', 'TRUNCATE'))
) AS p (what, granted) WHERE NOT p.granted";

pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) {
    let Some(url) = note(findings, "database url", config.database_url(), |url| {
        url.to_string()
    }) else {
        return;
    };
    let purpose = Purpose::Lease {
        timeout: config.lease.timeout,
    };
    let connected = database::connect(url, purpose, "postroom-relay check").await;
    let told = |_: &PgConnection| "reached, a primary, no pooler in between".to_owned();
    let Some(mut connection) = note(findings, "database", connected, told) else {
        return;
    };
    let schema = outbox::schema::check(&mut connection).await;
    let version = |(): &()| format!("version {}", migrations::SCHEMA_VERSION);
    if note(findings, "schema", schema, version).is_none() {
        return;
    }
    match sqlx::query_scalar::<_, String>(PRIVILEGES)
        .fetch_all(&mut connection)
        .await
    {
        Ok(missing) => findings.push(Finding {
            what: "privileges",
            ok: missing.is_empty(),
            detail: if missing.is_empty() {
                "all granted".to_owned()
            } else {
                format!(
                    "missing: {}; GRANT outbox_relay to this user",
                    missing.join("; ")
                )
            },
        }),
        Err(error) => {
            note(findings, "privileges", Err::<(), _>(error), |()| {
                String::new()
            });
            return;
        }
    }
    check_identity(&mut connection, findings).await;
}

async fn check_identity(connection: &mut PgConnection, findings: &mut Vec<Finding>) {
    let looked = async {
        let server = server::identity(connection).await?;
        let recorded = checkpoint::latest(connection, LANE).await?;
        Ok::<_, sqlx::Error>(match recorded {
            None => (
                true,
                "no checkpoint yet: a relay begins with the first message",
            ),
            Some((_, recorded)) => match recorded.identity.recognise(&server) {
                Recognised::Same => (true, "belongs to this database"),
                Recognised::Promoted => (true, "belongs to this database, promoted since"),
                Recognised::Foreign => (false, "belongs to another database; run `relay rebase`"),
            },
        })
    };
    match looked.await {
        Ok((ok, detail)) => {
            findings.push(Finding {
                what: "checkpoint",
                ok,
                detail: detail.to_owned(),
            });
        }
        Err(error) => {
            note(findings, "checkpoint", Err::<(), _>(error), |()| {
                String::new()
            });
        }
    }
}
