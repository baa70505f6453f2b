//! `relay parked`.

use std::process::ExitCode;

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use relay_core::publish::Reason;

use super::{
    config_args::{ConfigArgs, say},
    table::{or_dash, printable, printable_lines, table},
};
use crate::admin::parked::{self, Filter, ParkedMessage, Selection};

/// Actions on parked messages.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List them, oldest first
    List(ListArgs),
    /// Show one with its headers and body
    Show {
        /// Position of the message
        position: i64,
    },
    /// Try them again at once
    Retry(SelectionArgs),
    /// Give them up for good; what waits behind them goes on
    Discard(SelectionArgs),
}

/// Options of `relay parked list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those with this reason
    #[arg(long, value_parser = reasons())]
    reason: Option<Reason>,
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
pub(super) struct SelectionArgs {
    /// Positions of messages
    positions: Vec<i64>,
    /// All with this reason, besides those at the positions
    #[arg(long, value_parser = reasons())]
    reason: Option<Reason>,
}

fn reasons() -> impl TypedValueParser<Value = Reason> {
    let names = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str));
    names.try_map(|name| Reason::named(&name).ok_or("no such reason"))
}

impl From<&SelectionArgs> for Selection {
    fn from(args: &SelectionArgs) -> Self {
        Self {
            positions: args.positions.clone(),
            reason: args.reason,
        }
    }
}

pub(super) async fn run(source: &ConfigArgs, action: &Action) -> anyhow::Result<ExitCode> {
    let mut connection = source.connect().await?;
    match action {
        Action::List(args) => {
            let filter = Filter {
                reason: args.reason,
                key: args.key.clone(),
                limit: args.limit,
            };
            let messages = parked::list(&mut connection, &filter).await?;
            print_list(&filter, &messages, args.json)?;
        }
        Action::Show { position } => {
            let shown = parked::show(&mut connection, *position).await?;
            say(printable_lines(shown.get()))?;
        }
        Action::Retry(selection) => {
            let chosen = parked::retry(&mut connection, &selection.into()).await?;
            say(format!("{chosen} to be tried again at once"))?;
        }
        Action::Discard(selection) => {
            let discarded = parked::discard(&mut connection, &selection.into()).await?;
            say(format!("{discarded} discarded"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_list(filter: &Filter, messages: &[ParkedMessage], json: bool) -> anyhow::Result<()> {
    if json {
        return say(printable_lines(&serde_json::to_string_pretty(messages)?));
    }
    if messages.is_empty() {
        return say(match (filter.reason, &filter.key) {
            (None, None) => "nothing is parked",
            _ => "nothing like that is parked",
        });
    }
    let mut shown = table(&[
        "position", "reason", "tries", "next try", "topic", "key", "detail",
    ]);
    for message in messages {
        shown.add_row([
            message.position.to_string(),
            message.reason.clone(),
            message.attempts.to_string(),
            or_dash(message.due_at),
            printable(&message.topic),
            or_dash(message.key.as_deref().map(printable)),
            printable(message.detail.as_deref().unwrap_or_default()),
        ]);
    }
    say(shown)
}
