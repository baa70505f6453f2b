//! A server's host: a name, an IP address or the folder of a Unix socket.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

/// Longest name in bytes (RFC 1035, section 2.3.4), without the dot at the end.
const NAME_BYTES: usize = 253;

/// Longest part of a name between dots.
const LABEL_BYTES: usize = 63;

/// A server's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name for the resolver.
    Name(String),
    /// An IP address.
    Ip(IpAddr),
    /// The folder of a Unix socket, an absolute path.
    Socket(PathBuf),
}

/// Error of a host that is no name, no IP address and no folder of a socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHost {
    /// No host is given.
    #[error("the host is missing; write localhost for this machine")]
    Empty,
    /// An IPv6 address names an interface of this machine.
    #[error(
        "the IPv6 address {0} has a zone id, which is not supported; use an address without one"
    )]
    Zone(String),
    /// An address in brackets is no IPv6 address.
    #[error("{0} is no IPv6 address")]
    NotIpv6(String),
    /// An IPv6 address stands without brackets, so that its end could be a port.
    #[error("{0} looks like an IPv6 address; write it in brackets")]
    NoBrackets(String),
    /// The last part is a number, as in an IPv4 address, but the whole is none. Resolvers read such hosts in different
    /// ways: as octal, as hexadecimal or with parts left out.
    #[error("{0} is no IPv4 address of four decimal numbers; write it as 127.0.0.1 is written")]
    NotIpv4(String),
    /// An address that stands for all addresses of a machine.
    #[error("{0} stands for every address of a machine and names no host")]
    Unspecified(IpAddr),
    /// The name has characters outside of ASCII.
    #[error("the host {0:?} is not in ASCII; write its name as the name service knows it (xn--…)")]
    NotAscii(String),
    /// The name has a character that no host name has, an empty part, or too many bytes.
    #[error("{0:?} is no host name")]
    Name(String),
}

impl Host {
    /// Returns `true` if no packet to the host leaves this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Ip(address) => address.to_canonical().is_loopback(),
            Self::Socket(_) => true,
        }
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    /// Parses a name, an IPv4 address, an IPv6 address with or without brackets, or an absolute path.
    fn from_str(host: &str) -> Result<Self, InvalidHost> {
        if host.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if host.starts_with('/') {
            return Ok(Self::Socket(PathBuf::from(host)));
        }
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let address = match bracketed {
            Some(inner) => Some(IpAddr::V6(ipv6(inner)?)),
            None if host.contains(':') => Some(IpAddr::V6(ipv6(host)?)),
            None => ipv4(host)?.map(IpAddr::V4),
        };
        match address {
            Some(address) if address.to_canonical().is_unspecified() => {
                Err(InvalidHost::Unspecified(address))
            }
            Some(address) => Ok(Self::Ip(address)),
            None => name(host).map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    /// Writes the host without brackets, as the operating system takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
            Self::Socket(folder) => folder.display().fmt(f),
        }
    }
}

fn ipv6(host: &str) -> Result<Ipv6Addr, InvalidHost> {
    if host.contains('%') {
        return Err(InvalidHost::Zone(host.to_owned()));
    }
    host.parse()
        .map_err(|_| InvalidHost::NotIpv6(host.to_owned()))
}

/// Returns the IPv4 address; `None` if the host is a name, whose last part is no number (URL Standard, "ends in a
/// number").
fn ipv4(host: &str) -> Result<Option<Ipv4Addr>, InvalidHost> {
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_number = |part: &str| {
        let digits = part.strip_prefix("0x").or(part.strip_prefix("0X"));
        let is_hex = digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        is_hex || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
    };
    if !last.is_some_and(is_number) {
        return Ok(None);
    }
    let address = host.parse();
    address
        .map(Some)
        .map_err(|_| InvalidHost::NotIpv4(host.to_owned()))
}

fn name(host: &str) -> Result<String, InvalidHost> {
    if !host.is_ascii() {
        return Err(InvalidHost::NotAscii(host.to_owned()));
    }
    // One dot at the end makes a name absolute.
    let relative = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let fits = (1..=LABEL_BYTES).contains(&label.len()) && !label.starts_with('-');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        fits && label.bytes().all(allowed)
    };
    if relative.len() > NAME_BYTES || !relative.split('.').all(is_label) {
        return Err(InvalidHost::Name(host.to_owned()));
    }
    // Resolvers look up "localhost." at a name server, which may answer with any address.
    if relative.eq_ignore_ascii_case("localhost") {
        return Ok("localhost".to_owned());
    }
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Host, InvalidHost};

    fn host(text: &str) -> Result<Host, InvalidHost> {
        text.parse()
    }

    #[test]
    fn a_host_is_kept_as_written() {
        for (text, kept) in [
            ("mq.example", "mq.example"),
            ("mq.example.", "mq.example."),
            ("a_b-c", "a_b-c"),
            ("1and1.example", "1and1.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.2", "127.0.0.2"),
            ("[::1]", "::1"),
            ("FD00::1", "fd00::1"),
            ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
            ("/var/run/postgresql", "/var/run/postgresql"),
        ] {
            assert_eq!(host(text).unwrap().to_string(), kept);
        }
    }

    #[test]
    fn every_other_host_is_refused_by_name() {
        for text in [
            "",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "017.0.0.1",
            "127.0.0.1.",
            "1.2.3.4.5",
            "256.1.1.1",
            "a.0x",
            "0.0.0.0",
            "[::]",
            "[::1%25eth0]",
            "fe80::1%eth0",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "[mq]",
            "a..b",
            ".a",
            "a..",
            ".",
            "a b",
            "a\tb",
            "a,b",
            "a@b",
            "a/b",
            "a\\b",
            "a%b",
            "bücher.example",
            "例え",
            "-a",
            "a\0b",
            "a:b",
        ] {
            let refused = host(text).unwrap_err();
            let named = refused.to_string();
            assert!(
                text.is_empty()
                    || named.contains(text.trim_matches(['[', ']']))
                    || named.contains("name"),
                "{named}"
            );
        }
        assert!(host(&format!("{}.example", "a".repeat(64))).is_err());
        assert!(host(&"a.".repeat(130)).is_err());
    }

    #[test]
    fn only_this_machine_is_local() {
        for text in [
            "localhost",
            "LocalHost",
            "localhost.",
            "127.0.0.1",
            "127.255.0.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "/tmp",
        ] {
            assert!(host(text).unwrap().is_local(), "{text}");
        }
        for text in [
            "localhost.example",
            "a.localhost",
            "localhost1",
            "128.0.0.1",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "[fe80::1]",
        ] {
            assert!(!host(text).unwrap().is_local(), "{text}");
        }
    }
}
