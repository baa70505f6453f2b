//! Processes of the demo: starting, checking and stopping them.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Longest wait for a process that was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Command line and settings of a process.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Unique name, which also names the log file.
    pub(crate) name: String,
    /// Executable in the demo's own folder.
    pub(crate) binary: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Port of `/health/ready`; `None` if the process does not serve it.
    pub(crate) admin_port: Option<u16>,
}

/// A relay's answer to `/health/ready`.
#[derive(Debug, Deserialize)]
pub(crate) struct Health {
    pub(crate) role: String,
    pub(crate) problem: Option<String>,
    #[serde(skip)]
    pub(crate) ready: bool,
}

#[derive(Debug)]
struct Running {
    program: Program,
    process: Child,
}

/// Processes by name. Running processes are killed on drop.
#[derive(Debug)]
pub(crate) struct Processes {
    /// Folder of the executables.
    binaries: PathBuf,
    /// Folder of the logs.
    logs: PathBuf,
    running: BTreeMap<String, Running>,
}

impl Processes {
    /// Finds the folders beside the demo's own executable, `target/<profile>/shop-demo`, and removes old
    /// logs.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("looking for the demo's own executable")?;
        let binaries = own.parent().context("the executable is in no folder")?;
        let logs = binaries.parent().unwrap_or(binaries).join("demo");
        fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        for old in fs::read_dir(&logs)?.flatten() {
            if old.path().extension().is_some_and(|end| end == "log") {
                fs::remove_file(old.path())?;
            }
        }
        Ok(Self {
            binaries: binaries.to_owned(),
            logs,
            running: BTreeMap::new(),
        })
    }

    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Starts a process that runs until it is stopped.
    pub(crate) fn start(&mut self, program: Program) -> anyhow::Result<()> {
        let path = self.log(&program.name);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("opening {}", path.display()))?;
        let process = self
            .command(&program)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| self.cannot_start(&program))?;
        let running = Running { program, process };
        self.running.insert(running.program.name.clone(), running);
        Ok(())
    }

    /// Starts a process that ends by itself and prints to the demo's terminal.
    pub(crate) fn spawn(&self, program: &Program) -> anyhow::Result<Child> {
        let spawned = self.command(program).spawn();
        spawned.with_context(|| self.cannot_start(program))
    }

    /// Runs a process to its end and returns its output.
    pub(crate) async fn output(&self, program: &Program) -> anyhow::Result<Vec<u8>> {
        let output = self.command(program).output().await;
        let output = output.with_context(|| self.cannot_start(program))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {}", program.name, said.trim());
        }
        Ok(output.stdout)
    }

    fn command(&self, program: &Program) -> Command {
        let mut command = Command::new(self.binaries.join(program.binary));
        // The demo's own settings give access to the servers with all rights; the processes get their own
        // settings.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POSTROOM_") {
                command.env_remove(name);
            }
        }
        command
            .args(&program.arguments)
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            // Ctrl-C is for the demo, which stops its processes itself.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    fn cannot_start(&self, program: &Program) -> String {
        format!(
            "starting {} (build it: cargo build -p postroom-relay -p postroom-shop)",
            self.binaries.join(program.binary).display()
        )
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Fails if a process has ended without being stopped.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for (name, running) in &mut self.running {
            if let Some(status) = running.process.try_wait()? {
                let log = self.logs.join(format!("{name}.log"));
                let text = fs::read_to_string(&log).unwrap_or_default();
                let last = text.lines().next_back().unwrap_or("it logged nothing");
                bail!("{name} ended ({status}): {last} (log: {})", log.display());
            }
        }
        Ok(())
    }

    /// Queries `/health/ready`; returns `None` if there is no answer.
    pub(crate) async fn health(&self, name: &str) -> Option<Health> {
        let port = self.running.get(name)?.program.admin_port?;
        let asked = tokio::task::spawn_blocking(move || ask_health(port));
        asked.await.ok()?.ok()
    }

    /// Kills a process with SIGKILL.
    pub(crate) async fn kill(&mut self, name: &str) -> anyhow::Result<Program> {
        let mut running = self.take(name)?;
        running.process.kill().await?;
        Ok(running.program)
    }

    /// Asks all processes to stop and waits for their ends. Fails if a process ended with an error.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        for running in self.running.values() {
            send_sigterm(&running.process);
        }
        let mut badly = Vec::new();
        while let Some((name, mut running)) = self.running.pop_first() {
            match timeout(STOP_TIMEOUT, running.process.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => badly.push(format!("{name} ended with {status}")),
                Ok(Err(error)) => badly.push(format!("{name}: {error}")),
                Err(_) => badly.push(format!("{name} did not stop within {STOP_TIMEOUT:?}")),
            }
        }
        if !badly.is_empty() {
            bail!("{} (logs: {})", badly.join("; "), self.logs.display());
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> anyhow::Result<Running> {
        let running = self.running.remove(name);
        running.with_context(|| format!("{name} does not run"))
    }
}

/// Sends SIGTERM.
pub(crate) fn send_sigterm(process: &Child) {
    let pid = process.id().and_then(|pid| Pid::from_raw(pid as i32));
    if let Some(pid) = pid {
        // The process may have ended already.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Returns a free TCP port.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

fn ask_health(port: u16) -> anyhow::Result<Health> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(2)))
        .build()
        .new_agent();
    let mut answer = agent
        .get(format!("http://127.0.0.1:{port}/health/ready"))
        .call()?;
    let ready = answer.status() == 200;
    let health: Health = answer.body_mut().read_json()?;
    Ok(Health { ready, ..health })
}
