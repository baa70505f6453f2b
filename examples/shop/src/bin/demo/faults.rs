//! Faults injected while the orders are imported.

use std::{collections::VecDeque, time::Duration};

use shop::terminal::print;

use crate::{
    databases::Service,
    processes::Processes,
    programs::{Programs, relay_name},
    settle::until,
};

/// Longest wait for a relay to reach a role.
const ROLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A fault, or its preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A second relay of the orders service is started and stands by.
    StandBy,
    /// The active relay of the orders service is killed with SIGKILL, and the other takes over.
    KillActiveRelay,
    /// The only relay of the billing service is killed with SIGKILL and started again.
    KillOnlyRelay,
    /// The billing service is killed with SIGKILL and started again.
    KillConsumer,
    /// The broker is restarted, or all connections to it are closed, including the tap's.
    RestartBroker,
}

/// Remaining faults, each with the percentage of placed orders at which it is injected.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    steps: VecDeque<(i64, Step)>,
    /// Command that restarts the broker; `None` to close its connections instead.
    restart_broker: Option<String>,
}

impl Faults {
    pub(crate) fn all(restart_broker: Option<String>) -> Self {
        let steps = VecDeque::from([
            (5, Step::StandBy),
            (15, Step::KillActiveRelay),
            (30, Step::KillConsumer),
            (40, Step::KillOnlyRelay),
            (50, Step::KillActiveRelay),
            (60, Step::RestartBroker),
        ]);
        Self {
            steps,
            restart_broker,
        }
    }

    /// Returns `true` if no fault remains.
    pub(crate) fn is_over(&self) -> bool {
        self.steps.is_empty()
    }

    /// Injects the faults that are due when `percent` of the orders are placed.
    pub(crate) async fn inject_due(
        &mut self,
        percent: i64,
        processes: &mut Processes,
        programs: Programs<'_>,
    ) -> anyhow::Result<()> {
        while let Some((_, step)) = self.steps.pop_front_if(|(due, _)| *due <= percent) {
            let restart = self.restart_broker.as_deref();
            let what = step.run(processes, programs, restart).await?;
            print(format!("{percent:>3} %        {what}"));
        }
        Ok(())
    }
}

impl Step {
    async fn run(
        self,
        processes: &mut Processes,
        programs: Programs<'_>,
        restart_broker: Option<&str>,
    ) -> anyhow::Result<String> {
        match self {
            Self::StandBy => {
                processes.start(programs.relay(Service::Orders, standby_name())?)?;
                wait_for_role(processes, &standby_name(), "standby").await?;
                Ok(format!("{} stands by", standby_name()))
            }
            Self::KillActiveRelay => {
                let own = relay_name(Service::Orders);
                let health = processes.health(&own).await;
                let is_active = health.is_some_and(|health| health.role == "active");
                let (active, standby) = if is_active {
                    (own, standby_name())
                } else {
                    (standby_name(), own)
                };
                let killed = processes.kill(&active).await?;
                wait_for_role(processes, &standby, "active").await?;
                processes.start(killed)?;
                wait_for_role(processes, &active, "standby").await?;
                Ok(format!(
                    "{active} killed; {standby} took over, {active} stands by"
                ))
            }
            Self::KillOnlyRelay => kill_and_start(processes, &relay_name(Service::Billing)).await,
            Self::KillConsumer => kill_and_start(processes, Service::Billing.name()).await,
            Self::RestartBroker => {
                if let Some(command) = restart_broker {
                    run(command).await?;
                    return Ok("the broker restarted".to_owned());
                }
                let closed = programs.broker.close_connections().await?;
                Ok(format!("all {closed} connections to the broker closed"))
            }
        }
    }
}

fn standby_name() -> String {
    format!("{}-standby", relay_name(Service::Orders))
}

async fn kill_and_start(processes: &mut Processes, name: &str) -> anyhow::Result<String> {
    let killed = processes.kill(name).await?;
    processes.start(killed)?;
    Ok(format!("{name} killed and started again"))
}

async fn run(command: &str) -> anyhow::Result<()> {
    let mut shell = tokio::process::Command::new("sh");
    let output = shell.arg("-c").arg(command).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command}: {}", said.trim());
    Ok(())
}

/// Waits until a relay has a role.
async fn wait_for_role(processes: &mut Processes, name: &str, role: &str) -> anyhow::Result<()> {
    let what = format!("{name} is {role}");
    until(
        processes,
        ROLE_TIMEOUT,
        &what,
        async |processes: &Processes| {
            let now = match processes.health(name).await {
                Some(health) if health.role == role => return Ok(Vec::new()),
                Some(health) => health.role,
                None => "silent".to_owned(),
            };
            Ok(vec![format!("it is {now}")])
        },
    )
    .await
}
