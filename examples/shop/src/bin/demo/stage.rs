//! The demo from its first to its last step.

use std::{fs::File, path::PathBuf, time::Instant};

use anyhow::{Context as _, bail};
use rand::seq::SliceRandom as _;
use shop::{
    purchases,
    terminal::{complain, say, thousands},
};
use tokio::time::{Duration, sleep};
use uuid::Uuid;

use crate::{
    Args,
    broker::Broker,
    databases::{Databases, Service},
    figures,
    fleet::Fleet,
    programs::Programs,
    report::Report,
    settle::{not_ready, read_tap, unsettled, until},
    totals,
    violence::Violence,
};

/// Longest wait for everything to start.
const START: Duration = Duration::from_mins(1);
/// Between two looks at the import.
const PAUSE: Duration = Duration::from_millis(100);

/// Servers and processes of one demo.
#[derive(Debug)]
pub(crate) struct Stage {
    databases: Databases,
    broker: Broker,
    fleet: Fleet,
    tap_report: PathBuf,
}

impl Stage {
    /// Makes nothing yet but the folder of the logs.
    pub(crate) fn new(args: &Args) -> anyhow::Result<Self> {
        File::open(&args.orders).with_context(|| {
            format!(
                "opening {}; name a file with --orders",
                args.orders.display()
            )
        })?;
        let random = Uuid::new_v4().simple().to_string();
        let suffix = &random[..6];
        let fleet = Fleet::new()?;
        let admin = args.amqp_admin_url.clone();
        Ok(Self {
            databases: Databases::new(args.database_url.clone(), suffix),
            broker: Broker::new(args.amqp_url.clone(), admin, suffix),
            tap_report: fleet.logs().join(format!("tap-{suffix}.json")),
            fleet,
        })
    }

    /// Plays the demo; tells whether every figure is right.
    pub(crate) async fn play(&mut self, args: &Args) -> anyhow::Result<bool> {
        self.prepare().await?;
        self.start().await?;
        self.import(args).await?;
        self.settle(args.deadline()).await?;
        // The tap's last word comes when it stops. A process that ends badly is a wrong figure.
        let stopped = self.fleet.stop().await;
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
        say(format!(
            "servers     databases {}, {virtual_host}",
            names.join(", ")
        ));
        Ok(())
    }

    /// Starts everything in a random order, since any will do, and waits until it is ready.
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
            self.fleet.start(program)?;
        }
        say(format!(
            "processes   {} (logs: {})",
            names.join(", "),
            self.fleet.logs().display()
        ));
        let (broker, report) = (&self.broker, &self.tap_report);
        until(
            &mut self.fleet,
            START,
            "everything is ready",
            async |fleet: &Fleet| not_ready(fleet, broker, report).await,
        )
        .await?;
        say(format!(
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
        let mut violence = if args.calm {
            Violence::default()
        } else {
            Violence::all(args.restart_broker.clone())
        };
        let total = purchases::count(&args.orders)?.max(1) as i64;
        let began = Instant::now();
        let mut import = self
            .fleet
            .spawn(&programs.import(&args.orders, args.producers)?)?;
        let status = loop {
            self.fleet.check()?;
            if let Some(status) = import.try_wait()? {
                break status;
            }
            if !violence.is_over() {
                let placed = figures::orders_placed(&self.databases).await?;
                violence
                    .go_on(placed * 100 / total, &mut self.fleet, programs)
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
        violence.go_on(100, &mut self.fleet, programs).await?;
        let seconds = began.elapsed().as_secs_f64();
        say(format!("imported    {placed} orders in {seconds:.1} s"));
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
            &mut self.fleet,
            deadline,
            "everything has settled",
            async |fleet: &Fleet| unsettled(fleet, programs, report).await,
        )
        .await?;
        say(format!(
            "settled     {:.1} s later",
            began.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Ends what still runs, and removes what was made.
    pub(crate) async fn clear(&mut self, keep: bool) -> anyhow::Result<()> {
        let stopped = self.fleet.stop().await;
        if keep {
            for service in Service::ALL {
                let url = self.databases.service_url(service)?;
                say(format!("kept        POSTROOM_DATABASE_URL={url}"));
            }
            say(format!(
                "kept        POSTROOM_AMQP_URL={}",
                self.broker.url()
            ));
            return stopped;
        }
        let deleted = self.broker.delete().await;
        let dropped = self.databases.drop_all().await;
        // All are tried; the last error is the result, the others are told.
        for failed in [stopped, deleted].into_iter().filter_map(Result::err) {
            complain(&failed.context("clearing up"));
        }
        dropped.context("clearing up")
    }
}
