//! `relay check`.

use std::{process::ExitCode, time::Duration};

use serde::Serialize;
use sqlx::PgConnection;

use super::source::{Source, say};
use crate::{
    broker::open,
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

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

pub(super) async fn run(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    config.database_url()?;
    config.amqp_url()?;
    let mut findings = Vec::new();
    check_database(&config, &mut findings).await;
    check_broker(&config, &mut findings).await;
    let ok = findings.iter().all(|finding| finding.ok);
    if json {
        say(serde_json::to_string_pretty(&findings)?)?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok    " } else { "FAILED" };
            say(format!("{mark}  {:<20} {}", finding.what, finding.detail))?;
        }
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Notes a result; tells whether to look further.
fn note<T, E: std::error::Error>(
    findings: &mut Vec<Finding>,
    what: &'static str,
    result: Result<T, E>,
    detail: impl FnOnce(&T) -> String,
) -> Option<T> {
    let (ok, detail) = match &result {
        Ok(value) => (true, detail(value)),
        Err(error) => (false, with_causes(error)),
    };
    findings.push(Finding { what, ok, detail });
    result.ok()
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

async fn check_database(config: &Config, findings: &mut Vec<Finding>) {
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

async fn check_broker(config: &Config, findings: &mut Vec<Finding>) {
    let Some(url) = note(findings, "broker url", config.amqp_url(), |url| {
        url.to_string()
    }) else {
        return;
    };
    let connecting = open::connect(url, Duration::from_secs(10));
    let connected = match tokio::time::timeout(config.amqp.connect_timeout, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(crate::broker::BrokerError::TimedOut {
            what: "connecting to the broker",
            after: config.amqp.connect_timeout,
        }),
    };
    let told = |_: &lapin::Connection| "reached".to_owned();
    let Some(connection) = note(findings, "broker", connected, told) else {
        return;
    };
    let exchange = &config.amqp.exchange;
    let declared = async {
        let channel = connection
            .create_channel()
            .await
            .map_err(crate::broker::BrokerError::Lost)?;
        let passive = !config.amqp.declare_exchange;
        open::declare_exchange(&channel, exchange, passive).await
    };
    note(findings, "exchange", declared.await, |()| {
        format!("{exchange}, topic, durable")
    });
}
