//! A database's URL, and the servers that it names.

use std::{fmt::Write as _, str::FromStr, sync::Arc, time::Duration};

use postroom_message::address::{Host, InvalidUrl, Url};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{
    SslMode, TargetSession, Unverified,
    parameters::Parameters,
    servers::{Place, places},
};

/// Name by which `sslrootcert` asks for the system's authorities.
const SYSTEM: &str = "system";

/// File without an authority.
const NOTHING: &str = "/dev/null";

/// Beginning of a certificate that `PGSSLROOTCERT` itself contains, which sqlx reads itself.
const INLINE: &str = "-----BEGIN";

/// URL of a database: one server or several, of which one is used.
///
/// `postgres://user:password@host1:5432,host2:5432/database?target_session_attrs=read-write`, as libpq reads it.
/// Parsing reads the environment variables of libpq (`PGHOST`, `PGSSLMODE`, …) and opens no file and no connection.
/// A parameter that is unknown, or whose value sqlx cannot honour, is an error.
#[derive(Debug, Clone)]
pub struct DatabaseAddress {
    servers: Vec<Server>,
    target: TargetSession,
    connect_timeout: Option<Duration>,
}

/// One server of a [`DatabaseAddress`].
#[derive(Clone)]
pub struct Server {
    place: Place,
    ssl_mode: SslMode,
    /// Parameters for sqlx.
    parameters: Arc<[(String, String)]>,
}

impl DatabaseAddress {
    /// Parses a URL with other environment variables than the process's.
    ///
    /// # Errors
    /// As [`FromStr`].
    pub fn parse_with(
        url: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidUrl> {
        const EXAMPLE: &str = "postgres:// or postgresql";
        let url = Url::parse(url, EXAMPLE)?;
        if !matches!(url.scheme.as_str(), "postgres" | "postgresql") {
            return Err(InvalidUrl::Scheme(EXAMPLE));
        }
        let mut parameters = Parameters::read(&url, &environment)?;
        let places = places(&url, &parameters, environment)?;
        let ssl_mode = ssl_mode(&mut parameters)?;
        if places.iter().any(|place| is_misnamed(place, ssl_mode)) {
            return Err(InvalidUrl::Rule(
                "it has both host and hostaddr, and sslmode=verify-full would compare the certificate with hostaddr; leave one of the two out",
            ));
        }
        let passed_on: Arc<[_]> = parameters.passed_on.into();
        let server = |place| Server {
            place,
            ssl_mode,
            parameters: Arc::clone(&passed_on),
        };
        Ok(Self {
            servers: places.into_iter().map(server).collect(),
            target: parameters.target,
            connect_timeout: parameters.connect_timeout,
        })
    }

    /// Returns the servers in the URL's order; never empty.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Returns sqlx's options for the first server.
    ///
    /// # Errors
    /// As [`Server::options`].
    pub fn first_options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let first = self.servers.first().map(Server::options);
        first.unwrap_or_else(|| Ok(PgConnectOptions::new()))
    }

    /// Returns the kind of server that is asked for.
    pub const fn target(&self) -> TargetSession {
        self.target
    }

    /// Sets the kind of server that is asked for.
    #[must_use]
    pub const fn with_target(mut self, target: TargetSession) -> Self {
        self.target = target;
        self
    }

    /// Returns the longest wait for one server that the URL asks for.
    pub const fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Returns the file of authorities (`sslrootcert`), in addition to the system's.
    pub fn root_certificate(&self) -> Option<&str> {
        self.parameter("sslrootcert")
            .filter(|file| *file != NOTHING)
    }

    /// Returns the file of the client's certificate (`sslcert`).
    pub fn certificate(&self) -> Option<&str> {
        self.parameter("sslcert")
    }

    /// Returns the file of the client's key (`sslkey`).
    pub fn key(&self) -> Option<&str> {
        self.parameter("sslkey")
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = &*self.servers.first()?.parameters;
        let found = parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the danger if a server on another machine would get the password before its identity is proven.
    pub fn unverified(&self) -> Option<Unverified> {
        self.servers.iter().find_map(Server::unverified)
    }
}

impl FromStr for DatabaseAddress {
    type Err = InvalidUrl;

    /// # Errors
    /// Fails for a text that is no URL, a host that is none, and a parameter that is unknown or cannot be honoured.
    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        Self::parse_with(url, |name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })
    }
}

impl Server {
    /// Returns sqlx's options for this server. Reads the environment and the password file, as sqlx does.
    ///
    /// # Errors
    /// Fails if sqlx refuses a parameter.
    pub fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let mut url = String::from("postgres:///?");
        let mut add = |name: &str, value: &str| {
            if !url.ends_with('?') {
                url.push('&');
            }
            escape(&mut url, name);
            url.push('=');
            escape(&mut url, value);
        };
        // As parameters, because sqlx would keep the brackets of an IPv6 address.
        if let Some(host) = &self.place.host {
            add("host", &host.to_string());
        } else if let Some(address) = self.place.address {
            add("host", &address.to_string());
        }
        add("port", &self.place.port.to_string());
        add("sslmode", self.ssl_mode.name());
        for (name, value) in &*self.parameters {
            add(name, value);
        }
        let mut options = PgConnectOptions::from_str(&url)?;
        if let (Some(_), Some(address)) = (&self.place.host, self.place.address) {
            options = options.host(&address.to_string());
        }
        let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
        // No network is in between, and the server knows no encryption there.
        Ok(if is_socket {
            options.ssl_mode(PgSslMode::Disable)
        } else {
            options
        })
    }

    /// Returns the danger if the server is on another machine and would get the password before its identity is proven.
    pub fn unverified(&self) -> Option<Unverified> {
        Unverified::of(self.to_string(), self.is_local(), self.ssl_mode)
    }

    /// Returns `true` if no packet to the server leaves this machine.
    pub fn is_local(&self) -> bool {
        let address = self.place.address.map(Host::Ip);
        let dialled = address.as_ref().or(self.place.host.as_ref());
        dialled.is_none_or(Host::is_local)
    }
}

impl std::fmt::Display for Server {
    /// Writes host and port.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place {
            host,
            address,
            port,
        } = &self.place;
        match (host, address) {
            (Some(host @ Host::Ip(std::net::IpAddr::V6(_))), None) => write!(f, "[{host}]:{port}"),
            (Some(host), None) => write!(f, "{host}:{port}"),
            (Some(host), Some(address)) => write!(f, "{host} ({address}):{port}"),
            (None, Some(address)) => std::net::SocketAddr::new(*address, *port).fmt(f),
            (None, None) => write!(f, "this machine:{port}"),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns `true` if sqlx would compare the certificate with another name than the host's.
fn is_misnamed(place: &Place, mode: SslMode) -> bool {
    mode == SslMode::VerifyFull && place.host.is_some() && place.address.is_some()
}

/// Decides on the encryption, and passes the authority's file on.
fn ssl_mode(parameters: &mut Parameters) -> Result<SslMode, InvalidUrl> {
    let asked = parameters.ssl_mode;
    let root = parameters
        .root_certificate
        .take()
        .filter(|root| !root.is_empty());
    match root {
        // As in libpq, the system's authorities may sign for anybody, so the name must be compared.
        Some(root) if root == SYSTEM => {
            if asked.is_some_and(|mode| mode != SslMode::VerifyFull) {
                return Err(InvalidUrl::Rule(
                    "sslrootcert=system needs sslmode=verify-full",
                ));
            }
            // A file with nothing in it, over PGSSLROOTCERT: sqlx always knows the system's authorities.
            let nothing = ("sslrootcert".to_owned(), NOTHING.to_owned());
            parameters.passed_on.push(nothing);
            Ok(SslMode::VerifyFull)
        }
        Some(root) => {
            if !root.trim_start().starts_with(INLINE) {
                parameters.passed_on.push(("sslrootcert".to_owned(), root));
            }
            Ok(match asked.unwrap_or(SslMode::Prefer) {
                // libpq: "If a root CA file is present, verify the certificate in the same way as verify-ca".
                SslMode::Require => SslMode::VerifyCa,
                mode => mode,
            })
        }
        None => Ok(asked.unwrap_or(SslMode::Prefer)),
    }
}

/// Writes a text with every byte but letters and digits escaped.
fn escape(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests;
