//! Checks of the database: it can be reached, it is migrated, and the user has the privileges that a relay needs.

use sqlx::{Connection as _, PgConnection};

use super::{Finding, foreign, note, privileges};
use crate::{
    answer,
    checkpoint::Checkpoint,
    config::Config,
    database::{self, DatabaseError, Purpose},
    error::RelayError,
    identity::{Identity, Recognised},
    lease::LANE,
    ops::config_args::{ANSWER_TIMEOUT, set_lock_timeout},
    publish::PendingWrites,
    sequence,
    sql::{checkpoint, holder, message, segment, server},
};

/// Checks the database; returns its identity if it could be read.
pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) -> Option<Identity> {
    let url = note(findings, "database url", config.database_url(), |url| {
        url.to_string()
    })?;
    let purpose = Purpose::Lease {
        timeout: config.lease.timeout,
    };
    let connected = database::connect(url, purpose, "postroom-relay check").await;
    let detail = |_: &PgConnection| "reached, a primary, no pooler in between".to_owned();
    let mut connection = note(findings, "database", connected, detail)?;
    let mut identity = None;
    let looked = async {
        identity = Some(server::identity(&mut connection).await?);
        look(&mut connection, findings).await
    };
    let looked = answer::within(ANSWER_TIMEOUT, looked).await;
    if looked.is_err() {
        note(findings, "database", looked, |()| String::new());
    }
    identity
}

/// Checks one thing after another, until a failure makes later checks pointless. Returns an error if the connection
/// itself fails.
async fn look(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    set_lock_timeout(connection).await?;
    let schema = outbox::schema::check(connection).await;
    let version = |(): &()| format!("version {}", migrations::SCHEMA_VERSION);
    if note(findings, "schema", schema, version).is_none() {
        return Ok(());
    }
    match sqlx::query_scalar::<_, String>(privileges::MISSING)
        .fetch_all(&mut *connection)
        .await
    {
        Ok(missing) => findings.push(Finding::new(
            "privileges",
            missing.is_empty(),
            if missing.is_empty() {
                "all granted".to_owned()
            } else {
                format!(
                    "missing: {}; GRANT outbox_relay to this user",
                    missing.join("; ")
                )
            },
        )),
        Err(error) => {
            note(findings, "privileges", Err::<(), _>(error), |()| {
                String::new()
            });
            return Ok(());
        }
    }
    let written = write(connection).await;
    note(findings, "writing", written, |()| {
        "recorded, and taken back".to_owned()
    });
    check_lease(connection, findings).await?;
    check_identity(connection, findings).await;
    let sequence = check_sequence(connection).await;
    note(findings, "sequence", sequence, |()| {
        "positions are handed out in order".to_owned()
    });
    foreign::check(connection, findings).await?;
    Ok(())
}

/// Records a checkpoint as a relay does, in a transaction that is rolled back.
async fn write(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let here = server::identity(connection).await?;
    let mut tx = connection.begin().await?;
    let beginning = Checkpoint::beginning(here);
    checkpoint::record(&mut tx, LANE, &beginning, &PendingWrites::default()).await?;
    Ok(tx.rollback().await?)
}

/// Finds a session that keeps relays from the lease without being one.
async fn check_lease(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    let holders = holder::lease_holders(connection, LANE).await?;
    if let Some(problem) = holder::problem(&holders) {
        findings.push(Finding::new("lease", false, problem));
    }
    Ok(())
}

async fn check_sequence(connection: &mut PgConnection) -> Result<(), RelayError> {
    segment::sequence(connection).await?.check()?;
    let here = server::identity(connection).await?;
    let now = server::snapshot(connection).await?;
    let recorded = checkpoint::latest(connection, LANE).await?;
    let mut known = segment::highest(connection).await?;
    if let Some((_, recorded)) = recorded {
        // A rebase moves the sequence, if need be.
        if recorded.recognise(&here, &now) == Recognised::Foreign {
            return Ok(());
        }
        known = known.max(recorded.highest_position());
    }
    let stands = server::look(connection).await?.upper;
    Ok(sequence::check_position(stands, known)?)
}

async fn check_identity(connection: &mut PgConnection, findings: &mut Vec<Finding>) {
    let looked = async {
        let here = server::identity(connection).await?;
        let now = server::snapshot(connection).await?;
        let recorded = checkpoint::latest(connection, LANE).await?;
        Ok::<_, DatabaseError>(match recorded {
            None if message::from_ahead(connection).await? => (
                false,
                "none yet, and rows of another database; run `relay rebase`",
            ),
            None => (
                true,
                "no checkpoint yet: a relay begins with the first message",
            ),
            Some((_, recorded)) => match recorded.recognise(&here, &now) {
                Recognised::Same => (true, "belongs to this database"),
                Recognised::Promoted => (true, "belongs to this database, promoted since"),
                Recognised::Foreign => (false, "belongs to another database; run `relay rebase`"),
            },
        })
    };
    match looked.await {
        Ok((ok, detail)) => findings.push(Finding::new("checkpoint", ok, detail.to_owned())),
        Err(error) => {
            note(findings, "checkpoint", Err::<(), _>(error), |()| {
                String::new()
            });
        }
    }
}
