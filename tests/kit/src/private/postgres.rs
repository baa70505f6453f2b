//! A PostgreSQL server of a test's own.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::{
    Volume, folder, free_port,
    process::{as_server_user, await_end, own, signal_tree, start},
};

/// A PostgreSQL server; ended and removed when dropped.
#[derive(Debug)]
pub struct PgServer {
    folder: PathBuf,
    /// Port that it listens on, on the loopback address.
    pub port: u16,
    server: Option<Child>,
}

impl PgServer {
    /// Makes and starts one. Data survive kills of the processes, as they would with fsync.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// As [`PgServer::start`], with lines for `postgresql.conf`.
    pub fn start_with(settings: &str) -> Self {
        Self::start_in(folder("pg"), settings)
    }

    /// As [`PgServer::start`], with its data on a disk of the test's own.
    pub fn start_on(volume: &Volume) -> Self {
        // Little is kept of the log, so that it is what has been written that fills the disk.
        let settings = "min_wal_size = 32MB\nmax_wal_size = 48MB";
        let folder = folder("pg");
        let data = volume.folder().join("data");
        fs::create_dir_all(&data).expect("making a folder for a server");
        own(&data);
        // The server's messages go elsewhere, or a full disk could not be reported.
        std::os::unix::fs::symlink(data, folder.join("data")).expect("linking to a disk");
        Self::start_in(folder, settings)
    }

    fn start_in(folder: PathBuf, settings: &str) -> Self {
        let mut this = Self {
            folder,
            port: free_port(),
            server: None,
        };
        own(&this.folder);
        run(as_server_user(&program("initdb"))
            .args([
                "--no-sync",
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "-D",
            ])
            .arg(this.data()));
        let settings = format!(
            "fsync = off\nmax_connections = 200\nmax_prepared_transactions = 64\nshared_buffers = 64MB\nwal_level = replica\nmax_wal_senders = 10\nhot_standby = on\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n{settings}\n"
        );
        this.configure(&settings);
        this.resume();
        this
    }

    /// Copies this server into a streaming standby, which names itself `standby`.
    #[must_use]
    pub fn standby(&self) -> Self {
        let mut this = Self {
            folder: folder("pg"),
            port: free_port(),
            server: None,
        };
        own(&this.folder);
        let source = format!(
            "host=127.0.0.1 port={} user=postgres application_name=standby",
            self.port
        );
        run(as_server_user(&program("pg_basebackup"))
            .args(["--no-sync", "-c", "fast", "-R", "-d", &source, "-D"])
            .arg(this.data()));
        this.resume();
        this
    }

    /// Copies the data folder while the server is down or up, as a disk snapshot would, and starts
    /// the copy beside the original.
    #[must_use]
    pub fn clone_folder(&self) -> Self {
        let mut this = Self {
            folder: folder("pg"),
            port: free_port(),
            server: None,
        };
        run(Command::new("cp")
            .arg("-a")
            .arg(self.data())
            .arg(this.data()));
        drop(fs::remove_file(this.data().join("postmaster.pid")));
        own(&this.folder);
        this.resume();
        this
    }

    /// URL of its administrator.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Adds lines to `postgresql.conf`; in force after a reload or restart.
    pub fn configure(&self, settings: &str) {
        let path = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&path).expect("reading postgresql.conf");
        fs::write(&path, format!("{text}\n{settings}\n")).expect("writing postgresql.conf");
    }

    /// Reads the configuration again.
    pub fn reload(&self) {
        run(as_server_user(&program("pg_ctl"))
            .arg("reload")
            .arg("-D")
            .arg(self.data()));
    }

    /// Kills every process of the server at once: what was not written is gone.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let killed = signal_tree(server.id(), "KILL");
            await_end(&killed);
            server.wait().expect("waiting for a killed server");
            // Without a process that reaps orphans, the dead postmaster would pass for a living one.
            drop(fs::remove_file(self.data().join("postmaster.pid")));
        }
    }

    /// Returns `true` if it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let ended = |server: &mut Child| server.try_wait().expect("asking for a server").is_some();
        if self.server.as_mut().is_some_and(ended) {
            self.server = None;
        }
        self.server.is_none()
    }

    /// Stops it in order, ending all sessions.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            run(as_server_user(&program("pg_ctl"))
                .args(["stop", "-m", "fast", "-D"])
                .arg(self.data()));
            server.wait().expect("waiting for a stopped server");
        }
    }

    /// Starts it again on the same port.
    pub fn resume(&mut self) {
        let log = self.log();
        let mut command = as_server_user(&program("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string());
        self.server = Some(start(command, &log));
        let port = self.port.to_string();
        let ready = wait(|| {
            let asked = Command::new(program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &port])
                .status();
            asked.is_ok_and(|status| status.success())
        });
        let log = fs::read_to_string(&log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        assert!(ready, "the server does not start: {tail:#?}");
    }

    /// Freezes or thaws every process: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        if let Some(server) = &self.server {
            signal_tree(server.id(), signal);
        }
    }

    /// Makes this standby a primary.
    pub fn promote(&self) {
        run(as_server_user(&program("pg_ctl"))
            .args(["promote", "-w", "-D"])
            .arg(self.data()));
    }

    /// Runs SQL as the administrator and returns what psql prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", self.port);
        let output = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                &url,
                "-c",
                sql,
            ])
            .output()
            .expect("running psql");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns its log.
    pub fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A program of the newest PostgreSQL that is installed.
pub(super) fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort_by_key(|path| {
        let version = path
            .iter()
            .nth(4)
            .and_then(|v| v.to_str())
            .and_then(|v| v.parse().ok());
        version.unwrap_or(0)
    });
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

fn run(command: &mut Command) {
    let output = command.output().expect("running a program of PostgreSQL");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Waits for a server's start, at most a minute.
fn wait(mut ready: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(1) {
        if ready() {
            return true;
        }
        #[allow(clippy::disallowed_methods)] // Set-up, before any runtime is at work.
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
