//! A network namespace of a test's own: a host apart, behind a cable that can be cut.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use rand::Rng as _;
use url::Url;

use super::process::assert_root;

/// A network namespace with one cable to this host; removed when dropped, its rules with it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// This host's end of the cable; the other end is removed with it.
    cable: String,
    /// This host's address, as seen from inside.
    pub host: Ipv4Addr,
    /// The address inside, as seen from this host.
    pub inside: Ipv4Addr,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Panics
    /// Panics for users other than root.
    pub fn make() -> Self {
        assert_root("make network namespaces");
        // Names of interfaces have at most 15 bytes.
        let id: u32 = rand::rng().random();
        let (cable, far_end) = (format!("prh{id:08x}"), format!("prn{id:08x}"));
        // Networks of four addresses out of 198.18.0.0/15, where no real host lives (RFC 2544).
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (id % (1 << 15)) * 4;
        let this = Self {
            name: format!("postroom_{id:08x}"),
            cable,
            host: Ipv4Addr::from(network + 1),
            inside: Ipv4Addr::from(network + 2),
        };
        let Self {
            name,
            cable,
            host,
            inside,
        } = &this;
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {cable} type veth peer name {far_end} netns {name}"
        ));
        ip(&format!("address add {host}/30 dev {cable}"));
        ip(&format!("link set {cable} up"));
        ip(&format!("-n {name} address add {inside}/30 dev {far_end}"));
        ip(&format!("-n {name} link set {far_end} up"));
        ip(&format!("-n {name} link set lo up"));
        this
    }

    /// A command that runs a program inside.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// The URL that leads from inside to a server on this host.
    pub fn url(&self, url: &str) -> String {
        let mut url: Url = url.parse().expect("a server's URL");
        url.set_host(Some(&self.host.to_string()))
            .expect("a URL with a host");
        url.into()
    }

    /// Drops every packet to and from these ports of this host, silently. Other ports stay open.
    pub fn cut(&self, ports: &[u16]) {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let ports = ports.join(", ");
        self.nft(&format!(
            "add table inet cut
             add chain inet cut to {{ type filter hook output priority 0; }}
             add chain inet cut from {{ type filter hook input priority 0; }}
             add rule inet cut to tcp dport {{ {ports} }} drop
             add rule inet cut from tcp sport {{ {ports} }} drop"
        ));
    }

    /// Mends the cable.
    pub fn heal(&self) {
        self.nft("delete table inet cut");
    }

    fn nft(&self, rules: &str) {
        run(self.command(&tool("nft")).arg(rules));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for arguments in [
            format!("link delete {}", self.cable),
            format!("netns delete {}", self.name),
        ] {
            let words = arguments.split(' ');
            drop(Command::new(tool("ip")).args(words).output());
        }
    }
}

fn ip(arguments: &str) {
    run(Command::new(tool("ip")).args(arguments.split(' ')));
}

/// A program of the administrator's, by its full path: they are not on everybody's `PATH`.
fn tool(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
    paths.find(|path| path.exists()).unwrap_or_else(|| {
        panic!(
            "{name} is missing: install iproute2 and nftables (scripts/services up --for test does)"
        )
    })
}

fn run(command: &mut Command) {
    let output = command.output().expect("running ip or nft");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
