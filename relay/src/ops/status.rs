//! `relay status`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    config_args::{ANSWER_TIMEOUT, ConfigArgs, say},
    table::{age, printable, printable_lines, table},
};
use crate::{
    answer,
    checkpoint::Checkpoint,
    error::RelayError,
    identity::Recognised,
    lease::LANE,
    pg_timestamp::PgTimestamp,
    sql::{
        checkpoint,
        holder::{self, LeaseHolder},
        message, parked, server,
    },
};

pub(crate) const PARKED: &str = "
SELECT reason, count(*) AS messages, min(occurred_at) AS oldest, min(due_at) AS next_due
FROM outbox.parked WHERE lane = $1
GROUP BY reason ORDER BY reason";

pub(crate) const BLOCKED: &str = "
SELECT key, count(*) AS messages, min(position) AS first_position FROM outbox.parked
WHERE lane = $1 AND holds <> 'nothing' AND key IS NOT NULL
GROUP BY key ORDER BY 2 DESC, 1 LIMIT 20";

/// Largest number of undelivered messages that are counted.
const MAX_COUNTED: i64 = 100_000;

/// State of the outbox.
#[derive(Debug, Serialize)]
struct Status {
    /// Relay that holds the lease; `None` if no relay does.
    active: Option<Active>,
    /// Reason why no relay can publish before an operator acts; `None` if there is none.
    problem: Option<String>,
    /// Number of undelivered messages, counted up to 100,000.
    waiting: i64,
    oldest_waiting: Option<PgTimestamp>,
    oldest_waiting_seconds: Option<i64>,
    parked: Vec<Parked>,
    blocked_keys: Vec<Blocked>,
}

#[derive(Debug, Serialize)]
struct Active {
    name: String,
    address: Option<String>,
    /// Start of the relay's session; visible to the relay's own user and to members of `pg_read_all_stats`.
    since: Option<DateTime<Utc>>,
    /// `true` while another connection holds the fence at the broker.
    fenced: bool,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
struct Parked {
    reason: String,
    messages: i64,
    oldest: PgTimestamp,
    next_due: Option<PgTimestamp>,
}

#[derive(Debug, Serialize, sqlx::FromRow)]
struct Blocked {
    key: String,
    messages: i64,
    first_position: i64,
}

pub(super) async fn run(source: &ConfigArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut connection = source.connect().await?;
    let status = answer::within(ANSWER_TIMEOUT, Status::read(&mut connection)).await?;
    if json {
        say(printable_lines(&serde_json::to_string_pretty(&status)?))?;
    } else {
        status.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

impl From<&LeaseHolder> for Active {
    fn from(holder: &LeaseHolder) -> Self {
        Self {
            fenced: holder.is_fenced(),
            name: holder.name().to_owned(),
            address: holder.address().map(str::to_owned),
            since: holder.since(),
        }
    }
}

impl Active {
    fn describe(&self) -> String {
        match self.since {
            Some(since) => format!(
                "{} from {} since {}",
                self.name,
                self.address.as_deref().unwrap_or("a local socket"),
                since.format("%F %T UTC")
            ),
            None => format!(
                "{} (another user's: pg_read_all_stats would tell more)",
                self.name
            ),
        }
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
) -> Result<(i64, Option<PgTimestamp>), sqlx::Error> {
    let Some(checkpoint) = checkpoint else {
        return message::waiting(connection, LANE, 0, 0, &[]).await;
    };
    if let Some((_, walked)) = checkpoint.walk {
        return message::waiting(connection, LANE, walked, 0, &[]).await;
    }
    if is_foreign {
        let settled = checkpoint.settled_below();
        return message::waiting(connection, LANE, settled, 0, &[]).await;
    }
    let snapshot = &checkpoint.delivered;
    let (xmax, running) = (snapshot.xmax(), snapshot.running());
    let Some(frame) = &checkpoint.unfinished else {
        let floor = checkpoint.floors.below(snapshot.xmin());
        return message::waiting(connection, LANE, floor, xmax, running).await;
    };
    let (above, oldest) =
        message::waiting(connection, LANE, frame.watermark, xmax, running).await?;
    let (below, older) = message::waiting_below(connection, LANE, frame).await?;
    let oldest = oldest.into_iter().chain(older).min();
    Ok(((above + below).min(MAX_COUNTED), oldest))
}

impl Status {
    async fn read(connection: &mut PgConnection) -> Result<Self, RelayError> {
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
        let now: DateTime<Utc> = parked::now(&mut *connection).await?;
        let parked = sqlx::query_as(PARKED)
            .bind(LANE)
            .fetch_all(&mut *connection)
            .await?;
        let blocked_keys = sqlx::query_as(BLOCKED)
            .bind(LANE)
            .fetch_all(&mut *connection)
            .await?;
        Ok(Self {
            problem: problem(&holders, is_foreign),
            active,
            waiting,
            oldest_waiting: oldest,
            oldest_waiting_seconds: oldest.map(|oldest| (now - oldest.clamped()).num_seconds()),
            parked,
            blocked_keys,
        })
    }

    fn print(&self) -> anyhow::Result<()> {
        match &self.active {
            Some(active) => say(format!("active   {}", active.describe()))?,
            None if self.problem.is_some() => say("active   none")?,
            None => say("active   none: no relay holds the lease; start one with `relay run`")?,
        }
        if let Some(problem) = &self.problem {
            say(format!("problem  {}", printable(problem)))?;
        }
        let more = if self.waiting >= MAX_COUNTED {
            " or more"
        } else {
            ""
        };
        let oldest = self
            .oldest_waiting_seconds
            .map_or(String::new(), |seconds| {
                format!(", the oldest for {}", age(seconds))
            });
        say(format!("waiting  {}{more}{oldest}", self.waiting))?;
        if self.parked.is_empty() {
            return say("parked   none");
        }
        let mut parked = table(&["parked", "messages", "oldest", "next try"]);
        for row in &self.parked {
            parked.add_row([
                row.reason.clone(),
                row.messages.to_string(),
                row.oldest.to_string(),
                row.next_due
                    .map_or_else(|| "-".to_owned(), |due| due.to_string()),
            ]);
        }
        say(parked)?;
        if !self.blocked_keys.is_empty() {
            let mut blocked = table(&["blocked key", "messages", "first position"]);
            for row in &self.blocked_keys {
                let counts = (row.messages.to_string(), row.first_position.to_string());
                blocked.add_row([printable(&row.key), counts.0, counts.1]);
            }
            say(blocked)?;
        }
        Ok(())
    }
}
