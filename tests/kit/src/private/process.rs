//! Server processes: started by their own unprivileged user, killed by their recorded ids only.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Returns `true` if the process runs as root, as which PostgreSQL refuses to run.
pub(super) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("reading /proc/self/status");
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// Fails a test that needs root and does not run as root.
pub(super) fn assert_root(what: &str) {
    assert!(
        is_root(),
        "only root may {what}: run this test as root, or leave it out, as `make test` does for other users"
    );
}

/// Gives a folder to PostgreSQL's user if this is root.
pub(super) fn own(folder: &Path) {
    if is_root() {
        let given = Command::new("chown")
            .args(["-R", "postgres"])
            .arg(folder)
            .status();
        assert!(given.is_ok_and(|status| status.success()), "running chown");
    }
}

/// A command that runs as PostgreSQL's user if this is root.
pub(super) fn as_server_user(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        let users = fs::read_to_string("/etc/passwd").expect("reading /etc/passwd");
        let user = users.lines().find(|line| line.starts_with("postgres:"));
        let fields: Vec<&str> = user.expect("a user postgres").split(':').collect();
        let id = |field: &str| field.parse().expect("a number in /etc/passwd");
        command
            .uid(id(fields[2]))
            .gid(id(fields[3]))
            .current_dir("/");
    }
    command
}

/// Starts a server in a process group of its own, with its output in a file.
pub(super) fn start(mut command: Command, log: &Path) -> Child {
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("opening a log");
    let copy = file.try_clone().expect("opening a log");
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .process_group(0)
        .spawn()
        .expect("starting a server")
}

/// Sends a signal to a process and all its descendants. The process itself is stopped first, so
/// that it starts no others meanwhile.
pub(super) fn signal_tree(root: u32, signal: &str) -> Vec<u32> {
    send("STOP", &[root]);
    let all = tree(root);
    send(signal, &all);
    if signal != "STOP" {
        send("CONT", &[root]);
    }
    all
}

/// A process and all its descendants, those that are there now.
pub fn tree(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while next < all.len() {
        all.extend(children(all[next]));
        next += 1;
    }
    all
}

/// Waits until processes that were killed are gone: until then they hold shared memory and ports.
pub(super) fn await_end(ids: &[u32]) {
    let living = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // A zombie holds nothing any more; there may be no process that reaps it.
        stat.rsplit_once(')')
            .is_some_and(|(_, behind)| !behind.trim_start().starts_with('Z'))
    };
    while ids.iter().any(living) {
        #[allow(clippy::disallowed_methods)] // Nothing else waits for this thread.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn send(signal: &str, ids: &[u32]) {
    let mut kill = Command::new("kill");
    let ids = ids.iter().map(ToString::to_string);
    kill.arg(format!("-{signal}"))
        .args(ids)
        .stderr(Stdio::null());
    // Some may have gone already.
    drop(kill.status());
}

/// Processes whose parent this is. Not every kernel lists them by parent.
fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("reading /proc").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name in parentheses, which may hold anything: state, then parent.
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(1)?.parse().ok()
}
