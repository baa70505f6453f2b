//! State of an outbox: its active relay, its backlog and its parked messages.

use chrono::{DateTime, Utc};
use relay_core::{checkpoint::Checkpoint, identity::Recognised};
use serde::Serialize;
use sqlx::PgConnection;

use super::ANSWER_TIMEOUT;
use crate::store::{
    DatabaseError, LANE, PgTimestamp, answer, checkpoint,
    holder::{self, LeaseHolder},
    message,
    parked::operate::{self, BlockedKey, ReasonCount},
    server,
};

/// Largest number of undelivered messages that are counted.
pub(crate) const MAX_COUNTED: i64 = 100_000;

/// State of the outbox.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// Relay that holds the lease; `None` if no relay does.
    pub(crate) active: Option<Active>,
    /// Reason why no relay can publish before an operator acts; `None` if there is none.
    pub(crate) problem: Option<String>,
    /// Number of undelivered messages, counted up to 100,000.
    pub(crate) waiting: i64,
    pub(crate) oldest_waiting: Option<PgTimestamp>,
    pub(crate) oldest_waiting_seconds: Option<i64>,
    pub(crate) parked: Vec<ReasonCount>,
    pub(crate) blocked_keys: Vec<BlockedKey>,
}

/// The active relay.
#[derive(Debug, Serialize)]
pub(crate) struct Active {
    /// Name of its session: lane, host and process.
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    /// Start of its session; visible to the relay's own user and to members of `pg_read_all_stats`.
    pub(crate) since: Option<DateTime<Utc>>,
    /// `true` while another connection holds the fence at the broker.
    pub(crate) fenced: bool,
}

impl From<&LeaseHolder> for Active {
    fn from(holder: &LeaseHolder) -> Self {
        Self {
            name: holder.name().to_owned(),
            address: holder.address().map(str::to_owned),
            since: holder.since(),
            fenced: holder.is_fenced(),
        }
    }
}

impl Status {
    /// Reads the state.
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, DatabaseError> {
        answer::within(ANSWER_TIMEOUT, Self::look(connection)).await
    }

    async fn look(connection: &mut PgConnection) -> Result<Self, DatabaseError> {
        outbox::schema::check(connection).await?;
        let holders = holder::lease_holders(connection, LANE).await?;
        let mut relays = holders.iter().filter(|holder| holder.problem().is_none());
        let active = relays.next().map(Active::from);
        let checkpoint = checkpoint::latest(connection, LANE).await?;
        let checkpoint = checkpoint.map(|(_, checkpoint)| checkpoint);
        let here = server::identity(connection).await?;
        let now = server::snapshot(connection).await?;
        let is_foreign = checkpoint
            .as_ref()
            .is_some_and(|recorded| recorded.recognise(&here, &now) == Recognised::Foreign);
        let (waiting, oldest) = waiting(connection, checkpoint.as_ref(), is_foreign).await?;
        let now = server::now(connection).await?;
        Ok(Self {
            problem: problem(&holders, is_foreign),
            active,
            waiting,
            oldest_waiting: oldest,
            oldest_waiting_seconds: oldest.map(|oldest| (now - oldest.clamped()).num_seconds()),
            parked: operate::by_reason(connection, LANE).await?,
            blocked_keys: operate::blocked(connection, LANE).await?,
        })
    }
}

/// Returns the reason why nothing is published; `None` if there is none.
fn problem(holders: &[LeaseHolder], is_foreign: bool) -> Option<String> {
    if let Some(problem) = holder::problem(holders) {
        return Some(problem);
    }
    let problem = if is_foreign {
        "the checkpoint was recorded on another database: run `relay rebase` once"
    } else if holders.iter().any(LeaseHolder::is_fenced) {
        "the active relay may not publish: its fence at the broker is held by somebody else; `relay check` tells more"
    } else {
        return None;
    };
    Some(problem.to_owned())
}

/// Returns the number of undelivered rows and the time of the oldest. If the checkpoint's transaction ids
/// mean nothing on this database, every row above the settled position counts.
async fn waiting(
    connection: &mut PgConnection,
    checkpoint: Option<&Checkpoint>,
    is_foreign: bool,
) -> sqlx::Result<(i64, Option<PgTimestamp>)> {
    let (above, from_xid, running, frame) = match checkpoint {
        None => (0, 0, [].as_slice(), None),
        Some(recorded) if recorded.walk.is_some() || is_foreign => {
            let walked = recorded.walk.map(|(_, walked)| walked);
            let above = walked.unwrap_or_else(|| recorded.settled_below());
            (above, 0, [].as_slice(), None)
        }
        Some(recorded) => {
            let (delivered, frame) = (&recorded.delivered, recorded.unfinished.as_ref());
            let floor = recorded.floors.below(delivered.xmin());
            let above = frame.map_or(floor, |frame| frame.watermark);
            (above, delivered.xmax(), delivered.running(), frame)
        }
    };
    let (above, oldest) = message::waiting(connection, LANE, above, from_xid, running).await?;
    let (below, older) = match frame {
        Some(frame) => message::waiting_below(connection, LANE, frame).await?,
        None => (0, None),
    };
    let oldest = oldest.into_iter().chain(older).min();
    Ok(((above + below).min(MAX_COUNTED), oldest))
}
