//! `relay parked`.

use std::{collections::HashSet, process::ExitCode, time::Duration};

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use relay_core::publish::Reason;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use super::{
    config_args::{ANSWER_TIMEOUT, ConfigArgs, say},
    table::{printable, printable_lines, table},
};
use crate::{
    error::RelayError,
    store::{answer, sql::pg_timestamp::PgTimestamp},
};

/// Longest wait for a statement that marks parked messages: one statement may mark very many.
const MARK_TIMEOUT: Duration = Duration::from_mins(10);

/// Actions on parked messages.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List them, oldest first
    List(List),
    /// Show one with its headers and body
    Show {
        /// Position of the message
        position: i64,
    },
    /// Try them again at once
    Retry(Selection),
    /// Give them up for good; what waits behind them goes on
    Discard(Selection),
}

/// Options of `relay parked list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those with this reason
    #[arg(long, value_parser = reasons())]
    reason: Option<String>,
    /// Only those of this key
    #[arg(long)]
    key: Option<String>,
    /// Most to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Selection of parked messages.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Selection {
    /// Positions of messages
    positions: Vec<i64>,
    /// All with this reason, besides those at the positions
    #[arg(long, value_parser = reasons())]
    reason: Option<String>,
}

impl Selection {
    /// Fails if nothing is parked at one of the positions.
    fn found(&self, rows: i64) -> anyhow::Result<()> {
        let asked = self.positions.iter().collect::<HashSet<_>>().len();
        let found = usize::try_from(rows).unwrap_or_default();
        let enough = if self.reason.is_none() {
            asked
        } else {
            asked.min(1)
        };
        let done = match found {
            0 => String::new(),
            _ => format!(
                " ({} of the positions; the others are done)",
                asked - found.min(asked)
            ),
        };
        anyhow::ensure!(
            found >= enough,
            "no message is parked there, or it was discarded before{done}; see `relay parked list`"
        );
        Ok(())
    }
}

fn reasons() -> PossibleValuesParser {
    Reason::ALL.map(Reason::as_str).into()
}

pub(crate) const LIST: &str = "
SELECT position, reason, attempts, due_at, topic, key, message_id::text, detail
FROM outbox.parked
WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR key = $2)
ORDER BY position LIMIT $3";

pub(crate) const SHOW: &str = "
SELECT jsonb_pretty(to_jsonb(p) - 'payload'
                    || jsonb_build_object('payload', outbox.payload_as_json(payload, content_type)))
FROM outbox.parked AS p WHERE position = $1";

// Of a key, only the first row is made due: the others follow in order. If they were due too, they would
// stay due for as long as the first row fails.
pub(crate) const RETRY: &str = "
WITH chosen AS (
    SELECT p.position, p.lane, p.key, p.holds <> 'nothing' AND p.key IS NOT NULL AS waits
    FROM outbox.parked AS p
    WHERE (p.position = ANY ($1) OR p.reason = $2) AND p.detail IS DISTINCT FROM 'discarded'
), due AS (
    UPDATE outbox.parked SET due_at = clock_timestamp()
    WHERE position IN (SELECT c.position FROM chosen AS c WHERE NOT c.waits)
       OR position IN (SELECT min(p.position) FROM outbox.parked AS p
                       WHERE (p.lane, p.key) IN (SELECT c.lane, c.key FROM chosen AS c WHERE c.waits)
                         AND p.holds <> 'nothing'
                       GROUP BY p.lane, p.key)
)
SELECT count(*) FROM chosen";

// The row is not deleted here: as long as its frame may be read again, only the parked row records that the
// message is settled. If the row holds its key, the relay goes on with the rows behind it only after it has
// processed the row itself. The relay drops the row as expired.
pub(crate) const DISCARD: &str = "
WITH marked AS (
    UPDATE outbox.parked
    SET due_at = clock_timestamp(), expires_at = clock_timestamp(), detail = 'discarded'
    WHERE (position = ANY ($1) OR reason = $2) AND detail IS DISTINCT FROM 'discarded' RETURNING 1
)
SELECT count(*) FROM marked";

#[derive(Debug, Serialize, sqlx::FromRow)]
struct Row {
    position: i64,
    reason: String,
    attempts: i32,
    due_at: Option<PgTimestamp>,
    topic: String,
    key: Option<String>,
    message_id: String,
    detail: Option<String>,
}

pub(super) async fn run(source: &ConfigArgs, action: &Action) -> anyhow::Result<ExitCode> {
    let mut connection = source.connect().await?;
    answer::within(ANSWER_TIMEOUT, outbox::schema::check(&mut connection)).await?;
    match action {
        Action::List(list) => show_list(&mut connection, list).await?,
        Action::Show { position } => {
            let show = sqlx::query_scalar(SHOW).bind(position);
            let shown = show.fetch_optional(&mut connection);
            let shown: Option<String> = answer::within(ANSWER_TIMEOUT, shown).await?;
            match shown {
                Some(shown) => say(printable_lines(&shown))?,
                None => anyhow::bail!(
                    "no message is parked at position {position}; see `relay parked list`"
                ),
            }
        }
        Action::Retry(selection) => {
            let chosen = mark(&mut connection, RETRY, selection).await?;
            selection.found(chosen)?;
            say(format!("{chosen} to be tried again at once"))?;
        }
        Action::Discard(selection) => {
            let discarded = mark(&mut connection, DISCARD, selection).await?;
            selection.found(discarded)?;
            say(format!("{discarded} discarded"))?;
        }
    }
    connection.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a statement that marks the selected messages, and returns their number.
async fn mark(
    connection: &mut PgConnection,
    statement: &'static str,
    selection: &Selection,
) -> Result<i64, RelayError> {
    let query = sqlx::query_scalar(statement)
        .bind(&selection.positions)
        .bind(&selection.reason);
    answer::within(MARK_TIMEOUT, query.fetch_one(connection)).await
}

async fn show_list(connection: &mut PgConnection, list: &List) -> anyhow::Result<()> {
    let query = sqlx::query_as(LIST)
        .bind(&list.reason)
        .bind(&list.key)
        .bind(list.limit);
    let rows: Vec<Row> = answer::within(ANSWER_TIMEOUT, query.fetch_all(connection)).await?;
    if list.json {
        return say(printable_lines(&serde_json::to_string_pretty(&rows)?));
    }
    if rows.is_empty() {
        return say(match (&list.reason, &list.key) {
            (None, None) => "nothing is parked",
            _ => "nothing like that is parked",
        });
    }
    let mut shown = table(&[
        "position", "reason", "tries", "next try", "topic", "key", "detail",
    ]);
    for row in rows {
        shown.add_row([
            row.position.to_string(),
            row.reason,
            row.attempts.to_string(),
            row.due_at
                .map_or_else(|| "-".to_owned(), |due| due.to_string()),
            printable(&row.topic),
            row.key
                .map_or_else(|| "-".to_owned(), |key| printable(&key)),
            printable(&row.detail.unwrap_or_default()),
        ]);
    }
    say(shown)
}
