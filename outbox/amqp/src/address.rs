//! Address of a broker, whose `Debug` hides the password.

use std::{fmt, str::FromStr, time::Duration};

use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use postroom_message::address::{Host, InvalidHost, InvalidUrl, Url};

use crate::{Tls, TlsError};

/// `frame_max` of a URL that names none: RabbitMQ's default.
const FRAME_MAX: u32 = 131_072;

/// Smallest `frame_max` (AMQP 0-9-1, section 4.2.3). A smaller value, 0 in particular, would set no limit.
const FRAME_MIN: u32 = 4_096;

/// User and password of a URL that names no user: RabbitMQ's, which the broker accepts from its own machine only.
const GUEST: &str = "guest";

/// Longest name of a virtual host in bytes, that of a short string.
const VHOST_BYTES: usize = 255;

const PARAMETERS: &str = "heartbeat, frame_max, channel_max, connection_timeout and auth_mechanism";

/// URL of a broker. `Debug` omits the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    uri: AMQPUri,
    host: Host,
    tls: Tls,
}

impl Address {
    /// Returns the URL's parts, the password included.
    pub const fn uri(&self) -> &AMQPUri {
        &self.uri
    }

    /// Returns the host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the settings of TLS.
    pub(crate) const fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Sets the settings of TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Returns `true` if password and messages cross a network in clear.
    pub fn is_exposed(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQP && !self.host.is_local()
    }

    /// Checks the settings of TLS and their files.
    ///
    /// # Errors
    /// Fails if a file cannot be used, and if settings contradict the URL.
    pub fn check_tls(&self) -> Result<(), TlsError> {
        let is_encrypted = self.uri.scheme == AMQPScheme::AMQPS;
        let is_external = self.uri.query.auth_mechanism == Some(SASLMechanism::External);
        if is_external && !(is_encrypted && self.tls.has_certificate()) {
            return Err(TlsError::External);
        }
        match is_encrypted {
            true => self.tls.check(),
            false if self.tls.is_empty() => Ok(()),
            false => Err(TlsError::Unused),
        }
    }

    /// Returns the user's name at the broker; `None` if the broker takes the name from the client's certificate.
    pub fn user(&self) -> Option<&str> {
        let is_external = self.uri.query.auth_mechanism == Some(SASLMechanism::External);
        (!is_external).then_some(&*self.uri.authority.userinfo.username)
    }

    /// Sets the seconds between heartbeats.
    #[must_use]
    pub const fn with_heartbeat(mut self, seconds: u16) -> Self {
        self.uri.query.heartbeat = Some(seconds);
        self
    }

    /// Returns the seconds between heartbeats that the URL asks for.
    pub const fn heartbeat(&self) -> Option<u16> {
        self.uri.query.heartbeat
    }

    /// Returns the longest wait for a connection that the URL asks for.
    pub(crate) fn connection_timeout(&self) -> Option<Duration> {
        let millis = self.uri.query.connection_timeout?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}

impl FromStr for Address {
    type Err = InvalidUrl;

    /// Parses `amqp://user:password@host:port/vhost?heartbeat=10`, or `amqps`.
    ///
    /// The host is a name, an IPv4 address or an IPv6 address in brackets. The virtual host is everything after the
    /// first `/`; without a `/` it is the virtual host `/`.
    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        const EXAMPLE: &str = "amqp:// or amqps";
        let url = Url::parse(url, EXAMPLE)?;
        let scheme = match url.scheme.as_str() {
            "amqp" => AMQPScheme::AMQP,
            "amqps" => AMQPScheme::AMQPS,
            _ => return Err(InvalidUrl::Scheme(EXAMPLE)),
        };
        let (host, port) = Url::split_port(&url.hosts)?;
        let host: Host = Url::decode_host(host)?.parse()?;
        if matches!(host, Host::Socket(_)) {
            return Err(InvalidHost::Name(host.to_string()).into());
        }
        let (username, password) = match url.user {
            Some(user) => (user, url.password.unwrap_or_default()),
            None => (GUEST.to_owned(), GUEST.to_owned()),
        };
        let vhost = url.path.unwrap_or_else(|| "/".to_owned());
        if vhost.is_empty() {
            return Err(InvalidUrl::Rule(
                "its virtual host is empty; write /%2f for the virtual host /, or nothing after the port",
            ));
        }
        if vhost.len() > VHOST_BYTES {
            return Err(InvalidUrl::Rule(
                "its virtual host is longer than 255 bytes",
            ));
        }
        let uri = AMQPUri {
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: host.to_string(),
                port: port.unwrap_or_else(|| scheme.default_port()),
            },
            scheme,
            vhost,
            query: query(url.query)?,
        };
        Ok(Self {
            uri,
            host,
            tls: Tls::new(),
        })
    }
}

/// Reads the query's parameters (RabbitMQ, "URI Query Parameters").
fn query(parameters: Vec<(String, String)>) -> Result<AMQPQueryString, InvalidUrl> {
    let mut query = AMQPQueryString {
        // A server may set no limit; the client would then allocate buffers for frames of 4 GiB.
        frame_max: Some(FRAME_MAX),
        ..AMQPQueryString::default()
    };
    for (name, value) in parameters {
        match name.as_str() {
            "heartbeat" => query.heartbeat = Some(number("heartbeat", &value)?),
            "channel_max" => query.channel_max = Some(number("channel_max", &value)?),
            "connection_timeout" => {
                query.connection_timeout = Some(number("connection_timeout", &value)?);
            }
            "frame_max" => match number("frame_max", &value)? {
                frame_max if frame_max >= FRAME_MIN => query.frame_max = Some(frame_max),
                _ => {
                    return Err(InvalidUrl::Value {
                        name: "frame_max",
                        value,
                        must: "must be at least 4096",
                    });
                }
            },
            "auth_mechanism" => {
                let mechanism = value.parse();
                query.auth_mechanism = Some(mechanism.map_err(|_| InvalidUrl::Value {
                    name: "auth_mechanism",
                    value,
                    must: "must be plain, amqplain, external, anonymous or rabbit-cr-demo",
                })?);
            }
            "cacertfile"
            | "certfile"
            | "keyfile"
            | "verify"
            | "server_name_indication"
            | "fail_if_no_peer_cert"
            | "depth" => {
                return Err(InvalidUrl::Rule(
                    "it has settings for TLS after the ?, which are not read there; set the authority, the certificate, its key and the server's name beside the URL",
                ));
            }
            _ => {
                return Err(InvalidUrl::Parameter {
                    name,
                    known: PARAMETERS,
                });
            }
        }
    }
    Ok(query)
}

fn number<N: FromStr>(name: &'static str, value: &str) -> Result<N, InvalidUrl> {
    value.parse().map_err(|_| InvalidUrl::Value {
        name,
        value: value.to_owned(),
        must: "must be a whole number within the protocol's range",
    })
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        let (user, host, port) = (
            &authority.userinfo.username,
            &authority.host,
            authority.port,
        );
        write!(f, "{user}@{host}:{port}/{}", self.uri.vhost)
    }
}

#[cfg(test)]
mod tests;
