//! `relay rebase`.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::config_args::{ConfigArgs, hint, say};
use crate::admin::rebase::{self, Rebased, SequenceMove, Waiting};

/// Options of `relay rebase`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Rebase although the database is the one that the checkpoint was recorded on: everything
    /// retained is published again from the checkpoint's floor on
    #[arg(long)]
    force: bool,
    /// How long to wait for open transactions to end
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(super) async fn run(source: &ConfigArgs, options: &Options) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    let mut connection = rebase::connect(&config).await?;
    let Some(plan) = rebase::plan(&mut connection, options.force).await? else {
        say("nothing to do: no checkpoint is recorded, a relay begins with the first message")?;
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(sequence) = plan.sequence {
        rebase::move_sequence(&mut connection, sequence).await?;
        let SequenceMove { highest, to } = sequence;
        say(format!(
            "the sequence outbox.message_position stood below the highest row, {highest}: moved to {to}"
        ))?;
    }
    let report = |waiting: &Waiting| {
        // A closed stderr does not end the rebase.
        drop(hint(format!(
            "waiting, at most {} s, for transactions that began earlier: {}",
            waiting.seconds_left,
            waiting.open.join(", ")
        )));
    };
    let Rebased { above, up_to } =
        rebase::record(&mut connection, &plan, options.wait, report).await?;
    say(format!(
        "rebased: the next relay publishes what lies above position {above} up to {up_to} again, then goes on"
    ))?;
    Ok(ExitCode::SUCCESS)
}
