//! Checks of the database: it can be reached, it is migrated, and the user has the privileges that a relay needs.

use postroom_message::errors::chain;
use relay_core::{
    checkpoint::Checkpoint,
    identity::{Identity, Recognised},
    publish::PendingWrites,
    sequence,
};
use sqlx::{Connection as _, PgConnection};

use super::{Finding, note};
use crate::{
    admin::ANSWER_TIMEOUT,
    config::Config,
    store::{
        self, DatabaseError, LANE, Purpose, answer, checkpoint, holder, message, rights, segment,
        server,
    },
};

/// Checks the database; returns its identity if it could be read.
pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) -> Option<Identity> {
    let url = config.database_url();
    let shown = url.as_ref().map(ToString::to_string).unwrap_or_default();
    note(findings, "database url", url, shown)?;
    let purpose = Purpose::Lease {
        timeout: config.lease.timeout,
    };
    let connected = store::connect(config, purpose, "postroom-relay check").await;
    let detail = "reached, a primary, no pooler in between";
    let mut connection = note(findings, "database", connected, detail)?;
    let mut identity = None;
    let looked = async {
        identity = Some(server::identity(&mut connection).await?);
        look(&mut connection, findings).await
    };
    if let Err(error) = answer::within(ANSWER_TIMEOUT, looked).await {
        findings.push(Finding::new("database", false, chain(&error)));
    }
    identity
}

/// Checks one thing after another, until a failure makes later checks pointless. Returns an error if the connection
/// itself fails.
async fn look(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    server::limit_lock_wait(connection).await?;
    let schema = outbox::schema::check(connection).await;
    let version = format!("version {}", migrations::SCHEMA_VERSION);
    if note(findings, "schema", schema, version).is_none() {
        return Ok(());
    }
    let missing = match rights::missing(connection).await {
        Ok(missing) => missing,
        Err(error) => {
            findings.push(Finding::new("privileges", false, chain(&error)));
            return Ok(());
        }
    };
    let detail = if missing.is_empty() {
        "all granted".to_owned()
    } else {
        let missing = missing.join("; ");
        format!("missing: {missing}; GRANT outbox_relay to this user")
    };
    findings.push(Finding::new("privileges", missing.is_empty(), detail));
    let written = write(connection).await;
    note(findings, "writing", written, "recorded, and taken back");
    check_lease(connection, findings).await?;
    check_identity(connection, findings).await;
    let sequence = check_sequence(connection).await;
    let detail = "positions are handed out in order";
    note(findings, "sequence", sequence, detail);
    check_foreign(connection, findings).await
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

async fn check_sequence(connection: &mut PgConnection) -> Result<(), DatabaseError> {
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

/// Adds a warning if other roles could run code in sessions of this database.
async fn check_foreign(
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    let found = rights::foreign(connection).await?;
    if !found.is_empty() {
        let (what, cure): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        findings.push(Finding::warning(
            "foreign objects",
            format!(
                "code of others could run in sessions of this database: {}. To end that: {}",
                what.join(", "),
                cure.join("; ")
            ),
        ));
    }
    Ok(())
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
    let (ok, detail) = match looked.await {
        Ok((ok, detail)) => (ok, detail.to_owned()),
        Err(error) => (false, chain(&error)),
    };
    findings.push(Finding::new("checkpoint", ok, detail));
}
