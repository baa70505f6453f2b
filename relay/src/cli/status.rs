//! `relay status`.

use std::process::ExitCode;

use super::{
    config_args::{ConfigArgs, say},
    table::{age, or_dash, printable, printable_lines, table},
};
use crate::admin::status::{Active, MAX_COUNTED, Status};

pub(super) async fn run(source: &ConfigArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut connection = source.connect().await?;
    let status = Status::read(&mut connection).await?;
    if json {
        say(printable_lines(&serde_json::to_string_pretty(&status)?))?;
    } else {
        print(&status)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(status: &Status) -> anyhow::Result<()> {
    match &status.active {
        Some(active) => say(format!("active   {}", describe(active)))?,
        None if status.problem.is_some() => say("active   none")?,
        None => say("active   none: no relay holds the lease; start one with `relay run`")?,
    }
    if let Some(problem) = &status.problem {
        say(format!("problem  {}", printable(problem)))?;
    }
    let more = if status.waiting >= MAX_COUNTED {
        " or more"
    } else {
        ""
    };
    let oldest = status
        .oldest_waiting_seconds
        .map_or(String::new(), |seconds| {
            format!(", the oldest for {}", age(seconds))
        });
    say(format!("waiting  {}{more}{oldest}", status.waiting))?;
    if status.parked.is_empty() {
        return say("parked   none");
    }
    let mut parked = table(&["parked", "messages", "oldest", "next try"]);
    for row in &status.parked {
        parked.add_row([
            row.reason.clone(),
            row.messages.to_string(),
            row.oldest.to_string(),
            or_dash(row.next_due),
        ]);
    }
    say(parked)?;
    if !status.blocked_keys.is_empty() {
        let mut blocked = table(&["blocked key", "messages", "first position"]);
        for row in &status.blocked_keys {
            let counts = (row.messages.to_string(), row.first_position.to_string());
            blocked.add_row([printable(&row.key), counts.0, counts.1]);
        }
        say(blocked)?;
    }
    Ok(())
}

fn describe(active: &Active) -> String {
    match active.since {
        Some(since) => format!(
            "{} from {} since {}",
            active.name,
            active.address.as_deref().unwrap_or("a local socket"),
            since.format("%F %T UTC")
        ),
        None => format!(
            "{} (another user's: pg_read_all_stats would tell more)",
            active.name
        ),
    }
}
