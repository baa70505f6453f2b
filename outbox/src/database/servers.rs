//! The hosts and ports of a database's URL (libpq, "Specifying Multiple Hosts").

use std::net::IpAddr;

use postroom_message::address::{Host, InvalidHost, InvalidUrl, Url};

use super::parameters::Parameters;

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// Place of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Host that certificates and the password file name; `None` for this machine's default socket.
    pub(super) host: Option<Host>,
    /// Address to connect to instead of resolving the host.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// Lists the places that a URL names, or else those of the environment.
pub(super) fn places(
    url: &Url,
    parameters: &Parameters,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Place>, InvalidUrl> {
    let (mut hosts, mut ports) = authority(&url.hosts)?;
    let mut addresses = Vec::new();
    if let Some(host) = &parameters.host {
        hosts = split(host);
    }
    if let Some(address) = &parameters.hostaddr {
        addresses = split(address);
    }
    if let Some(port) = &parameters.port {
        ports = split(port);
    }
    if hosts.is_empty() && addresses.is_empty() {
        hosts = environment("PGHOST")
            .as_deref()
            .map(split)
            .unwrap_or_default();
        addresses = environment("PGHOSTADDR")
            .as_deref()
            .map(split)
            .unwrap_or_default();
    }
    if ports.iter().all(String::is_empty) {
        ports = environment("PGPORT")
            .as_deref()
            .map(split)
            .unwrap_or_default();
    }
    let count = hosts.len().max(addresses.len()).max(1);
    let fits = |list: &[String]| list.is_empty() || list.len() == count;
    if !fits(&hosts) || !fits(&addresses) || !(fits(&ports) || ports.len() == 1) {
        return Err(InvalidUrl::Rule(
            "its lists of hosts, addresses and ports have different lengths",
        ));
    }
    let place = |number: usize| {
        let host = hosts.get(number).map(|host| host.parse()).transpose()?;
        let address = addresses.get(number).map(|address| ip(address));
        let port = ports
            .get(number)
            .or(ports.first().filter(|_| ports.len() == 1));
        let shown = hosts.get(number).map_or("this machine", String::as_str);
        let port = match port.map(String::as_str) {
            None | Some("") => PORT,
            Some(port) => Url::split_port(&format!(":{port}"))
                .ok()
                .and_then(|(_, port)| port)
                .ok_or_else(|| InvalidUrl::Port(shown.to_owned()))?,
        };
        Ok(Place {
            host,
            address: address.transpose()?,
            port,
        })
    };
    (0..count).map(place).collect()
}

/// Separates the hosts and ports between `//` and the next `/`. An empty part names no host.
fn authority(written: &str) -> Result<(Vec<String>, Vec<String>), InvalidUrl> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for part in written.split(',') {
        let (host, port) = Url::split_port(part)?;
        hosts.push(Url::decode_host(host)?);
        ports.push(port.map(|port| port.to_string()).unwrap_or_default());
    }
    if let [host] = hosts.as_slice()
        && host.is_empty()
    {
        hosts.clear();
    }
    Ok((hosts, ports))
}

/// Separates a list. An empty text is no list.
fn split(list: &str) -> Vec<String> {
    if list.is_empty() {
        return Vec::new();
    }
    list.split(',').map(str::to_owned).collect()
}

fn ip(text: &str) -> Result<IpAddr, InvalidUrl> {
    match text.parse()? {
        Host::Ip(address) => Ok(address),
        _ => Err(InvalidHost::Name(text.to_owned()).into()),
    }
}
