//! A pooler of a test's own.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use url::Url;

use super::{
    folder, free_port,
    process::{as_server_user, await_end, own, signal_tree, start},
};

/// Where Debian installs it, outside of a user's path.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Server connections of a database and user: fewer than the clients that a test has.
const POOL_SIZE: usize = 6;

/// PgBouncer in transaction mode; ended and removed when dropped.
///
/// PgBouncer hands out its server connections in turn, so that each transaction of a client has another
/// connection, and keeps no prepared statements.
#[derive(Debug)]
pub struct PgBouncer {
    folder: PathBuf,
    port: u16,
    server: Child,
}

impl PgBouncer {
    /// Starts a pooler in front of the server of a URL, for that URL's user. The pooler ignores the start-up
    /// parameters `ignored`, and refuses other unknown parameters.
    pub fn start(url: &str, ignored: &str) -> Self {
        let url: Url = url.parse().expect("a database's URL");
        let (host, port) = (url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let folder = folder("pgbouncer");
        let listen_port = free_port();
        let users = format!(
            "\"{}\" \"{}\"\n",
            url.username(),
            url.password().unwrap_or("")
        );
        fs::write(folder.join("users.txt"), users).expect("writing users.txt");
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: scripts/services up --for test installs it"
        );
        let prepared = if knows_prepared_statements() {
            "max_prepared_statements = 0\n"
        } else {
            ""
        };
        let configuration = format!(
            "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen_port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}/users.txt\npool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\nmax_client_conn = 500\nserver_round_robin = 1\nignore_startup_parameters = {ignored}\n{prepared}",
            folder.display()
        );
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, configuration).expect("writing pgbouncer.ini");
        own(&folder);
        let mut command = as_server_user(Path::new(PROGRAM));
        command.arg(&file);
        let this = Self {
            server: start(command, &folder.join("server.log")),
            folder,
            port: listen_port,
        };
        this.await_start();
        this
    }

    /// The same URL, through this pooler.
    pub fn url(&self, direct: &str) -> String {
        let mut url: Url = direct.parse().expect("a database's URL");
        url.set_host(Some("127.0.0.1")).expect("a URL with a host");
        url.set_port(Some(self.port)).expect("a URL with a host");
        url.into()
    }

    fn await_start(&self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "the pooler does not start: {log}"
            );
            #[allow(clippy::disallowed_methods)] // Set-up, before any runtime is at work.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns `true` if the pooler keeps prepared statements by default, as it does since 1.21.
fn knows_prepared_statements() -> bool {
    let asked = Command::new(PROGRAM).arg("--version").output();
    let answer = asked.expect("running pgbouncer").stdout;
    let answer = String::from_utf8_lossy(&answer);
    let version = answer.split_whitespace().nth(1).expect("a version");
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|n| n.parse::<u32>().ok());
    minor.expect("a minor version") >= 21
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let killed = signal_tree(self.server.id(), "KILL");
        await_end(&killed);
        drop(self.server.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
