//! A RabbitMQ node of a test's own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    epmd::Epmd,
    folder, free_port,
    process::{await_end, signal_tree, start, tree},
};

/// Where Debian's package keeps the scripts that do not change users.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// Longest start of a node that does not end.
const LONGEST_START: Duration = Duration::from_mins(3);

/// A RabbitMQ node with the management plugin; ended and removed when dropped.
#[derive(Debug)]
pub struct RabbitNode {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    /// Port for AMQP.
    pub port: u16,
    admin_port: u16,
    distribution_port: u16,
    /// Shared by the nodes of a cluster.
    epmd: Arc<Epmd>,
    server: Option<Child>,
}

impl RabbitNode {
    /// Makes and starts one.
    pub fn start() -> Self {
        Self::start_on(&[])
    }

    /// As [`RabbitNode::start`], listening for AMQP on these addresses too.
    pub fn start_on(addresses: &[Ipv4Addr]) -> Self {
        let mut this = Self::make(&Arc::new(Epmd::new()));
        for (number, address) in (2..).zip(addresses) {
            this.configure(&format!(
                "listeners.tcp.{number} = {address}:{}\n",
                this.port
            ));
        }
        this.resume();
        this
    }

    /// As [`RabbitNode::start`], with lines for `rabbitmq.conf`, and logins by client certificate.
    pub fn start_with(settings: &str) -> Self {
        let mut this = Self::make(&Arc::new(Epmd::new()));
        this.configure(settings);
        let plugins = "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n";
        fs::write(this.folder.join("plugins"), plugins).expect("writing plugins");
        this.resume();
        this
    }

    /// Makes one without starting it.
    pub(super) fn make(epmd: &Arc<Epmd>) -> Self {
        let folder = folder("mq");
        let id = folder
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or("node")
            .to_owned();
        let this = Self {
            name: format!("{id}@localhost"),
            folder,
            port: free_port(),
            admin_port: free_port(),
            distribution_port: free_port(),
            epmd: Arc::clone(epmd),
            server: None,
        };
        this.configure(&format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\nmanagement_agent.disable_metrics_collector = true\nvm_memory_high_watermark.relative = 0.4\ndisk_free_limit.absolute = 10MB\nloopback_users = none\nlog.console = false\n",
            this.port, this.admin_port
        ));
        fs::write(this.folder.join("plugins"), "[rabbitmq_management].\n")
            .expect("writing plugins");
        this
    }

    /// Adds lines to `rabbitmq.conf`; in force after a start.
    pub(super) fn configure(&self, lines: &str) {
        let path = self.folder.join("rabbitmq.conf");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, text + lines).expect("writing rabbitmq.conf");
    }

    /// Returns `true` if it was started and has not been stopped since.
    pub(super) const fn is_up(&self) -> bool {
        self.server.is_some()
    }

    /// URL for AMQP.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// URL of the management API.
    pub fn admin_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.admin_port)
    }

    /// Returns the node's processes, while the node is up.
    pub fn processes(&self) -> Vec<u32> {
        self.server
            .as_ref()
            .map_or_else(Vec::new, |server| tree(server.id()))
    }

    /// Kills the node outright.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let killed = signal_tree(server.id(), "KILL");
            await_end(&killed);
            server.wait().expect("waiting for a killed node");
        }
    }

    /// Stops the node in order.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal_tree(server.id(), "TERM");
            server.wait().expect("waiting for a stopped node");
        }
    }

    /// Starts it again with the same data and ports.
    pub fn resume(&mut self) {
        let log = self.folder.join("server.log");
        let mut command = self.script("rabbitmq-server");
        command.env("RABBITMQ_PID_FILE", self.folder.join("pid"));
        self.server = Some(start(command, &log));
        let began = Instant::now();
        while !self.answers() {
            // A busy machine starts a node late.
            let failed = self.has_ended() || began.elapsed() > LONGEST_START;
            assert!(!failed, "{}", fs::read_to_string(&log).unwrap_or_default());
            #[allow(clippy::disallowed_methods)] // Set-up, before any runtime is at work.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn has_ended(&mut self) -> bool {
        let ended = |server: &mut Child| server.try_wait().expect("asking for a node").is_some();
        self.server.as_mut().is_some_and(ended)
    }

    /// Runs `rabbitmqctl` on the node.
    pub fn control(&self, arguments: &[&str]) {
        let mut command = self.script("rabbitmqctl");
        let output = command
            .args(arguments)
            .output()
            .expect("running rabbitmqctl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }

    /// Returns `true` if the management API and AMQP both answer.
    fn answers(&self) -> bool {
        let amqp = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"AMQP\x00\x00\x09\x01")?;
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            Ok(byte == [1])
        };
        let url = format!("{}/api/overview", self.admin_url());
        amqp().unwrap_or(false) && ureq::get(&url).call().is_ok()
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(PathBuf::from(SCRIPTS).join(name));
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.folder)
            .env("LANG", "C.UTF-8")
            .env("ERL_EPMD_PORT", self.epmd.port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // Or it would not be ended before it notices that its nodes are gone.
            .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "true")
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", self.folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.join("plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.folder.join("log"));
        command
    }
}

impl Drop for RabbitNode {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_dir_all(&self.folder));
    }
}
