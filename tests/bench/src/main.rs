//! Measures Postroom beside the limits that its servers set.

mod bare;
mod chart;
mod consumer;
mod figure;
mod figures;
mod frames;
mod load;
mod pairs;
mod places;
mod process;
mod servers;
mod straight;

use std::{panic::AssertUnwindSafe, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::Parser;
use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

/// The relay's. With the C library's, the client alone would be slower than the relay's client.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use crate::{figure::Results, figures::ALL, servers::Servers};

/// Measures each figure beside its raw limit, in the same run and in turns.
///
/// Starts a private PostgreSQL, which commits durably, and a private RabbitMQ; asserts nothing
/// about speed. Results go to target/bench: results.json, a list, and results.svg, a chart.
/// docs/performance.md tells what each figure means.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Args {
    /// Figures to measure, or beginnings of their names, separated by commas; all by default.
    /// Those that are measured together come together
    #[arg(long, value_delimiter = ',')]
    figures: Vec<String>,
    /// The large sizes too: ten million rows instead of one
    #[arg(long)]
    full: bool,
    /// Lists the figures and ends
    #[arg(long)]
    list: bool,
    /// Divides all sizes, to try a change
    #[arg(long, default_value_t = 1, hide = true)]
    divide: u64,
}

/// What the figures are measured on, and how large.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) servers: Servers,
    pub(crate) full: bool,
    divide: u64,
}

impl Bench {
    /// A count, smaller if that was asked for.
    pub(crate) fn size(&self, count: u64) -> u64 {
        (count / self.divide).max(1_000)
    }

    /// A count of pairs or of seconds.
    pub(crate) fn times(&self, count: u64) -> u64 {
        if self.divide > 1 { 1 } else { count }
    }
}

/// A line about what is going on.
pub(crate) fn tell(line: &str) {
    use std::io::Write as _;
    // Nobody may be listening any more.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A line of a result.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        for group in ALL {
            say(&group.names.join("\n"));
        }
        return Ok(());
    }
    let begins = |name: &str, with: &String| name.starts_with(with.as_str());
    let known = |asked: &&String| {
        let mut names = ALL.iter().flat_map(|group| group.names);
        names.any(|name| begins(name, asked))
    };
    if let Some(unknown) = args.figures.iter().find(|asked| !known(asked)) {
        anyhow::bail!("there is no figure {unknown:?}; --list names them");
    }
    let asked = |name: &&str| {
        args.figures.is_empty() || args.figures.iter().any(|asked| begins(name, asked))
    };
    // Before the servers, which are in process groups of their own, could be left behind.
    let stopped = stop_signal()?;
    let bench = Bench {
        servers: Servers::start()?,
        full: args.full,
        divide: args.divide.max(1),
    };
    let (mut results, mut failed) = (Results::default(), Vec::new());
    let measured = async {
        for group in ALL.iter().filter(|group| group.names.iter().any(asked)) {
            let began = Instant::now();
            tell(&format!("-- {}", group.names.join(", ")));
            // The support library panics where a test would fail: that ends a group, not the run.
            let measured = AssertUnwindSafe((group.measure)(&bench)).catch_unwind();
            match measured.await {
                Ok(Ok(figures)) => results.extend(figures),
                Ok(Err(error)) => failed.push(format!("{}: {error:#}", group.names.join(", "))),
                Err(_) => failed.push(format!("{}: panicked", group.names.join(", "))),
            }
            tell(&format!("   {:.0} s", began.elapsed().as_secs_f64()));
        }
    };
    // Servers and processes end when they are dropped.
    let interrupted = tokio::select! {
        () = measured => false,
        () = stopped => true,
    };
    results.keep(&folder()?)?;
    anyhow::ensure!(!interrupted, "interrupted");
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Ends when the process is asked to stop.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

fn folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("looking for the bench's own executable")?;
    let target = own
        .ancestors()
        .nth(2)
        .context("it is in no target folder")?;
    Ok(target.join("bench"))
}
