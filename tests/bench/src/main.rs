//! A benchmark that measures Postroom beside the limits of its servers.

mod bare;
mod chart;
mod consumer;
mod cpu_split;
mod figure;
mod figures;
mod frames;
mod handled_events;
mod lapin_client;
mod load;
mod pairs;
mod process;
mod servers;

use std::{panic::AssertUnwindSafe, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::Parser;
use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

/// The relay's allocator. With the C library's, the plain client would be slower than the relay's client.
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

/// Servers and sizes of the measurement.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) servers: Servers,
    pub(crate) full: bool,
    divide: u64,
}

impl Bench {
    /// Returns a count, reduced by `--divide`.
    pub(crate) fn size(&self, count: u64) -> u64 {
        (count / self.divide).max(1_000)
    }

    /// Returns a number of pairs or of seconds; 1 with `--divide`.
    pub(crate) fn times(&self, count: u64) -> u64 {
        if self.divide > 1 { 1 } else { count }
    }
}

/// Prints a line about the progress to standard error.
pub(crate) fn progress(line: &str) {
    use std::io::Write as _;
    // The reader may have closed the pipe.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line of the result to standard output.
pub(crate) fn print(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        for group in ALL {
            print(&group.names.join("\n"));
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
    // Set up before the servers start: they run in their own process groups and would survive a signal.
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
            progress(&format!("-- {}", group.names.join(", ")));
            // The test kit panics on a failure; a panic ends only the group.
            let measured = AssertUnwindSafe((group.measure)(&bench)).catch_unwind();
            match measured.await {
                Ok(Ok(figures)) => results.extend(figures),
                Ok(Err(error)) => failed.push(format!("{}: {error:#}", group.names.join(", "))),
                Err(_) => failed.push(format!("{}: panicked", group.names.join(", "))),
            }
            progress(&format!("   {:.0} s", began.elapsed().as_secs_f64()));
        }
    };
    // Servers and processes end when they are dropped.
    let interrupted = tokio::select! {
        () = measured => false,
        () = stopped => true,
    };
    results.save(&folder()?)?;
    anyhow::ensure!(!interrupted, "interrupted");
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Completes when the process receives a stop signal.
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
