//! Steps of the demo, from the first to the last.

use std::{fs::File, path::PathBuf, time::Instant};

use anyhow::{Context as _, bail};
use rand::seq::SliceRandom as _;
use shop::{
    purchases,
    terminal::{print, print_error, thousands},
};
use tokio::time::{Duration, sleep};
use uuid::Uuid;

use crate::{
    Args,
    broker::Broker,
    databases::{Databases, Service},
    faults::Faults,
    figures,
    processes::Processes,
    programs::Programs,
    report::Report,
    settle::{not_ready, read_tap, unsettled, until},
    totals,
};

/// Longest wait for everything to start.
const START: Duration = Duration::from_mins(1);
/// Wait between two checks of the import.
const PAUSE: Duration = Duration::from_millis(100);

/// Servers and processes of one demo.
#[derive(Debug)]
pub(crate) struct Demo {
    databases: Databases,
    broker: Broker,
    processes: Processes,
    tap_report: PathBuf,
}

impl Demo {
    /// Prepares a demo. Creates nothing but the folder of the logs.
    pub(crate) fn new(args: &Args) -> anyhow::Result<Self> {
        File::open(&args.orders).with_context(|| {
            format!(
                "opening {}; name a file with --orders",
                args.orders.display()
            )
        })?;
        let random = Uuid::new_v4().simple().to_string();
        let suffix = &random[..6];
        let processes = Processes::new()?;
        let admin = args.amqp_admin_url.clone();
        Ok(Self {
            databases: Databases::new(args.database_url.clone(), suffix),
            broker: Broker::new(args.amqp_url.clone(), admin, suffix),
            tap_report: processes.logs().join(format!("tap-{suffix}.json")),
            processes,
        })
    }

    /// Runs the demo. Returns `true` if every figure is right.
    pub(crate) async fn run(&mut self, args: &Args) -> anyhow::Result<bool> {
        self.prepare().await?;
        self.start().await?;
        self.import(args).await?;
        self.settle(args.deadline()).await?;
        // The tap writes its last report when it stops. A process that ends with an error is an error of
        // the demo.
        let stopped = self.processes.stop().await;
        let report = Report {
            file: totals::of_file(&args.orders)?,
            figures: figures::read(&self.databases).await?,
            tap: read_tap(&self.tap_report)?,
            calm: args.calm,
        };
        let right = report.print();
        stopped?;
        Ok(right)
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        let virtual_host = self.broker.create().await?;
        self.databases.create().await?;
        let names = Service::ALL.map(|service| self.databases.database(service));
        print(format!(
            "servers     databases {}, {virtual_host}",
            names.join(", ")
        ));
        Ok(())
    }

    /// Starts all processes in a random order, because any order must work, and waits until they are ready.
    async fn start(&mut self) -> anyhow::Result<()> {
        let programs = Programs {
            databases: &self.databases,
            broker: &self.broker,
        };
        let mut all = programs.all(&self.tap_report)?;
        all.shuffle(&mut rand::rng());
        let names: Vec<String> = all.iter().map(|program| program.name.clone()).collect();
        let began = Instant::now();
        for program in all {
            self.processes.start(program)?;
        }
        print(format!(
            "processes   {} (logs: {})",
            names.join(", "),
            self.processes.logs().display()
        ));
        let (broker, report) = (&self.broker, &self.tap_report);
        until(
            &mut self.processes,
            START,
            "everything is ready",
            async |processes: &Processes| not_ready(processes, broker, report).await,
        )
        .await?;
        print(format!(
            "ready       after {:.1} s",
            began.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    async fn import(&mut self, args: &Args) -> anyhow::Result<()> {
        let programs = Programs {
            databases: &self.databases,
            broker: &self.broker,
        };
        let mut faults = if args.calm {
            Faults::default()
        } else {
            Faults::all(args.restart_broker.clone())
        };
        let total = purchases::count(&args.orders)?.max(1) as i64;
        let began = Instant::now();
        let mut import = self
            .processes
            .spawn(&programs.import(&args.orders, args.producers)?)?;
        let status = loop {
            self.processes.check()?;
            if let Some(status) = import.try_wait()? {
                break status;
            }
            if !faults.is_over() {
                let placed = figures::orders_placed(&self.databases).await?;
                faults
                    .inject_due(placed * 100 / total, &mut self.processes, programs)
                    .await?;
            }
            sleep(PAUSE).await;
        };
        let placed = thousands(figures::orders_placed(&self.databases).await?);
        if !status.success() {
            bail!(
                "the import ended with {status}; the {placed} orders before that are kept (with --keep they stay, and the import can be resumed)"
            );
        }
        faults
            .inject_due(100, &mut self.processes, programs)
            .await?;
        let seconds = began.elapsed().as_secs_f64();
        print(format!("imported    {placed} orders in {seconds:.1} s"));
        Ok(())
    }

    async fn settle(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let programs = Programs {
            databases: &self.databases,
            broker: &self.broker,
        };
        let report = &self.tap_report;
        let began = Instant::now();
        until(
            &mut self.processes,
            deadline,
            "everything has settled",
            async |processes: &Processes| unsettled(processes, programs, report).await,
        )
        .await?;
        print(format!(
            "settled     {:.1} s later",
            began.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Stops the remaining processes, and removes what was created.
    pub(crate) async fn clear(&mut self, keep: bool) -> anyhow::Result<()> {
        let stopped = self.processes.stop().await;
        if keep {
            for service in Service::ALL {
                let url = self.databases.service_url(service)?;
                print(format!("kept        POSTROOM_DATABASE_URL={url}"));
            }
            print(format!(
                "kept        POSTROOM_AMQP_URL={}",
                self.broker.url()
            ));
            return stopped;
        }
        let deleted = self.broker.delete().await;
        let dropped = self.databases.drop_all().await;
        // All steps are tried; the last error is returned, the others are printed.
        for failed in [stopped, deleted].into_iter().filter_map(Result::err) {
            print_error(&failed.context("clearing up"));
        }
        dropped.context("clearing up")
    }
}
