//! Address of a broker, whose `Debug` hides the password.

use std::{fmt, str::FromStr};

use lapin::uri::AMQPUri;
use url::{Host, Url};

/// `frame_max` of a URL that names none: RabbitMQ's default.
const FRAME_MAX: u32 = 131_072;

/// URL of a broker. `Debug` omits the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(AMQPUri);

impl Address {
    /// Returns the URL's parts, the password included.
    pub const fn uri(&self) -> &AMQPUri {
        &self.0
    }

    /// Returns the user.
    pub fn user(&self) -> &str {
        &self.0.authority.userinfo.username
    }

    /// Sets the seconds between heartbeats.
    #[must_use]
    pub const fn with_heartbeat(mut self, seconds: u16) -> Self {
        self.0.query.heartbeat = Some(seconds);
        self
    }

    /// Returns the seconds between heartbeats that the URL asks for.
    pub const fn heartbeat(&self) -> Option<u16> {
        self.0.query.heartbeat
    }
}

impl FromStr for Address {
    type Err = String;

    /// Parses `amqp://user:password@host:port/vhost?heartbeat=10`; the host may be a name, an IPv4
    /// address or an IPv6 address in brackets.
    fn from_str(url: &str) -> Result<Self, String> {
        let mut uri: AMQPUri = url.parse()?;
        // The client's parser knows domains only: for an IPv6 address it would take "localhost".
        let parsed = Url::parse(url).map_err(|error| error.to_string())?;
        if let Some(Host::Ipv6(address)) = parsed.host() {
            uri.authority.host = address.to_string();
        }
        // A server may set no limit; the client would then allocate buffers for frames of 4 GiB.
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        Ok(Self(uri))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.0.authority;
        let (user, host, port) = (
            &authority.userinfo.username,
            &authority.host,
            authority.port,
        );
        write!(f, "{user}@{host}:{port}/{}", self.0.vhost)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn the_password_is_not_shown() {
        let address: Address = "amqp://guest:secret@localhost:5673/%2f".parse().unwrap();
        assert_eq!(format!("{address:?}"), "guest@localhost:5673//");
    }

    #[test]
    fn each_form_of_host_is_kept() {
        for (url, host) in [
            ("amqp://a:b@mq.example:1/v", "mq.example"),
            ("amqp://a:b@127.0.0.2:1/v", "127.0.0.2"),
            ("amqp://a:b@[fd00::1]:1/v", "fd00::1"),
            ("amqps://a:b@[::1]/v", "::1"),
            ("amqp:///v", "localhost"),
        ] {
            let address: Address = url.parse().unwrap();
            assert_eq!(address.uri().authority.host, host, "{url}");
        }
        assert!("amqp://a:b@[fe80::1%25eth0]/v".parse::<Address>().is_err());
    }
}
