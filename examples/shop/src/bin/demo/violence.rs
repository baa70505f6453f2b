//! What goes wrong on purpose while orders are imported.

use std::{collections::VecDeque, time::Duration};

use shop::terminal::say;

use crate::{
    databases::Service,
    fleet::Fleet,
    programs::{Programs, relay_name},
    settle::until,
};

/// Longest wait for another relay to take over.
const TAKE_OVER: Duration = Duration::from_secs(30);

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A second relay of the orders service stands by.
    StandBy,
    /// SIGKILL to the active relay of the orders service: the other takes over.
    KillActiveRelay,
    /// SIGKILL to the only relay of the billing service, which is started again.
    KillOnlyRelay,
    /// SIGKILL to the billing service, which is started again.
    KillConsumer,
    /// The broker is restarted, or every connection to it closed, the tap's too.
    RestartBroker,
}

/// What still goes wrong, each at a percentage of the orders.
#[derive(Debug, Default)]
pub(crate) struct Violence {
    steps: VecDeque<(i64, Step)>,
    /// Command that restarts the broker.
    restart_broker: Option<String>,
}

impl Violence {
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

    /// Whether nothing is left to go wrong.
    pub(crate) fn is_over(&self) -> bool {
        self.steps.is_empty()
    }

    /// Does what is due once so many percent of the orders are placed.
    pub(crate) async fn go_on(
        &mut self,
        percent: i64,
        fleet: &mut Fleet,
        programs: Programs<'_>,
    ) -> anyhow::Result<()> {
        while let Some((_, step)) = self.steps.pop_front_if(|(due, _)| *due <= percent) {
            let restart = self.restart_broker.as_deref();
            let what = step.run(fleet, programs, restart).await?;
            say(format!("{percent:>3} %        {what}"));
        }
        Ok(())
    }
}

impl Step {
    async fn run(
        self,
        fleet: &mut Fleet,
        programs: Programs<'_>,
        restart_broker: Option<&str>,
    ) -> anyhow::Result<String> {
        match self {
            Self::StandBy => {
                fleet.start(programs.relay(Service::Orders, standby_name())?)?;
                role(fleet, &standby_name(), "standby").await?;
                Ok(format!("{} stands by", standby_name()))
            }
            Self::KillActiveRelay => {
                let own = relay_name(Service::Orders);
                let health = fleet.health(&own).await;
                let is_active = health.is_some_and(|health| health.role == "active");
                let (active, standby) = if is_active {
                    (own, standby_name())
                } else {
                    (standby_name(), own)
                };
                let killed = fleet.kill(&active).await?;
                role(fleet, &standby, "active").await?;
                fleet.start(killed)?;
                role(fleet, &active, "standby").await?;
                Ok(format!(
                    "{active} killed; {standby} took over, {active} stands by"
                ))
            }
            Self::KillOnlyRelay => kill_and_start(fleet, &relay_name(Service::Billing)).await,
            Self::KillConsumer => kill_and_start(fleet, Service::Billing.name()).await,
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

async fn kill_and_start(fleet: &mut Fleet, name: &str) -> anyhow::Result<String> {
    let killed = fleet.kill(name).await?;
    fleet.start(killed)?;
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
async fn role(fleet: &mut Fleet, name: &str, role: &str) -> anyhow::Result<()> {
    let what = format!("{name} is {role}");
    until(fleet, TAKE_OVER, &what, async |fleet: &Fleet| {
        let now = match fleet.health(name).await {
            Some(health) if health.role == role => return Ok(Vec::new()),
            Some(health) => health.role,
            None => "silent".to_owned(),
        };
        Ok(vec![format!("it is {now}")])
    })
    .await
}
