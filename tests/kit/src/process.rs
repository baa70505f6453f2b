//! The relay as a real process.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::process::Child;

use crate::{Namespace, eventually, unique};

/// A running relay; killed when dropped.
#[derive(Debug)]
pub struct RelayProcess {
    child: Child,
    /// Address of the relay's health and metrics.
    pub admin: SocketAddrV4,
    /// File of the relay's log.
    pub log: PathBuf,
}

impl RelayProcess {
    /// Starts one with nothing but these environment variables.
    pub fn start(binary: &Path, environment: &[(String, String)]) -> Self {
        Self::spawn(Command::new(binary), Ipv4Addr::LOCALHOST, environment)
    }

    /// As [`RelayProcess::start`], inside a network namespace, from where this host is another machine.
    pub fn start_in(namespace: &Namespace, environment: &[(String, String)]) -> Self {
        let command = namespace.command(&binary("relay"));
        let allowed = [
            "POSTROOM_DATABASE_ALLOW_PLAINTEXT",
            "POSTROOM_AMQP_ALLOW_PLAINTEXT",
        ];
        let allowed = allowed.map(|name| (name.to_owned(), "true".to_owned()));
        let environment = [environment, &allowed].concat();
        Self::spawn(command, namespace.inside, &environment)
    }

    fn spawn(mut command: Command, host: Ipv4Addr, environment: &[(String, String)]) -> Self {
        let admin = SocketAddrV4::new(host, crate::private::free_port());
        let log = std::env::temp_dir().join(format!("{}.log", unique("postroom_relay")));
        let file = std::fs::File::create(&log).expect("creating a log file");
        command
            .arg("run")
            .env_clear()
            .envs(environment.iter().cloned())
            .env("POSTROOM_ADMIN_LISTEN", admin.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .expect("starting the relay; build it first: cargo build -p postroom-relay");
        Self { child, admin, log }
    }

    /// Asks `/health/ready`.
    pub fn health(&self) -> Option<(bool, Value)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(2)))
            .build()
            .into();
        let mut answer = agent
            .get(format!("http://{}/health/ready", self.admin))
            .call()
            .ok()?;
        let ready = answer.status() == 200;
        Some((ready, answer.body_mut().read_json().ok()?))
    }

    /// Returns `true` if `/health/live` answers with success.
    pub fn is_live(&self) -> bool {
        let url = format!("http://{}/health/live", self.admin);
        ureq::get(url)
            .call()
            .is_ok_and(|answer| answer.status() == 200)
    }

    /// Text of `/metrics`.
    pub fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        let mut answer = ureq::get(url).call().expect("asking for metrics");
        answer.body_mut().read_to_string().expect("reading metrics")
    }

    /// Value of a metric, summed over its labels; 0 before it is first counted.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let values = metrics.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually("the relay is ready", async || {
            self.health().is_some_and(|(ready, _)| ready)
        })
        .await;
    }

    /// Waits until it has a role.
    pub async fn role(&self, role: &str) {
        eventually(&format!("the relay is {role}"), async || {
            self.health()
                .is_some_and(|(_, health)| health["role"] == role)
        })
        .await;
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running relay")
    }

    /// Sends a signal, for example `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(sent.expect("running kill").success(), "the relay is gone");
    }

    /// Kills it outright.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killing the relay");
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.exited().await
    }

    /// Waits for its end.
    pub async fn exited(&mut self) -> ExitStatus {
        tokio::time::timeout(crate::DEADLINE, self.child.wait())
            .await
            .expect("the relay ends")
            .expect("waiting for the relay")
    }

    /// Returns its log.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).expect("reading the relay's log")
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: String = tail
                .into_iter()
                .rev()
                .fold(String::new(), |all, line| all + line + "\n");
            std::io::Write::write_all(&mut std::io::stderr(), tail.as_bytes()).unwrap_or_default();
        }
        // Best effort: a log left behind does no harm.
        drop(std::fs::remove_file(&self.log));
    }
}

/// Environment variable with the path of another build's relay, which is run instead of this one's.
const RELAY: &str = "POSTROOM_RELAY";

/// A binary of the workspace, built for the profile of the running program.
pub fn binary(name: &str) -> PathBuf {
    if let ("relay", Some(path)) = (name, std::env::var_os(RELAY)) {
        return path.into();
    }
    let own = std::env::current_exe().expect("the program's own path");
    let folder = own.parent().expect("a folder");
    // Tests lie in target/<profile>/deps, programs beside each other in target/<profile>.
    let profile = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().expect("target/<profile>"),
        _ => folder,
    };
    profile.join(name)
}
