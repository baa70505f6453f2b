//! Encryption of a connection, and proof of the server's identity.

use std::fmt;

use postroom_message::address::Host;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Encryption that is asked for, `sslmode` of libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// No encryption: sqlx never tries it in this mode.
    Allow,
    /// Encryption if the server offers it, to any server. libpq's default.
    Prefer,
    /// Encryption, to any server.
    Require,
    /// Encryption, to a server with a certificate of a trusted authority.
    VerifyCa,
    /// Encryption, to a server with a certificate of a trusted authority for the server's name.
    VerifyFull,
}

impl SslMode {
    pub(super) const VALUES: &str =
        "must be disable, allow, prefer, require, verify-ca or verify-full";

    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Returns the danger of the mode beyond this machine; `None` for [`SslMode::VerifyFull`].
    const fn danger(self) -> Option<&'static str> {
        match self {
            Self::Disable | Self::Allow => Some("sends everything in clear"),
            Self::Prefer => Some(
                "sends everything in clear if the server, or anybody who answers for it, asks so",
            ),
            Self::Require => Some("encrypts to anybody who answers for the server"),
            Self::VerifyCa => {
                Some("accepts anybody with a certificate of a trusted authority, whatever its name")
            }
            Self::VerifyFull => None,
        }
    }
}

impl From<PgSslMode> for SslMode {
    fn from(mode: PgSslMode) -> Self {
        match mode {
            PgSslMode::Disable => Self::Disable,
            PgSslMode::Allow => Self::Allow,
            PgSslMode::Prefer => Self::Prefer,
            PgSslMode::Require => Self::Require,
            PgSslMode::VerifyCa => Self::VerifyCa,
            PgSslMode::VerifyFull => Self::VerifyFull,
        }
    }
}

/// A server on another machine whose identity is not proven before it gets the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    server: String,
    mode: SslMode,
    danger: &'static str,
}

impl Unverified {
    /// Returns the danger of a pool's options; `None` if its server is on this machine, or the server's name is verified.
    pub fn of_options(options: &PgConnectOptions) -> Option<Self> {
        let host = options.get_host();
        let host: Option<Host> = host.parse().ok();
        let is_local = options.get_socket().is_some() || host.is_some_and(|host| host.is_local());
        let server = format!("{}:{}", options.get_host(), options.get_port());
        Self::of(server, is_local, options.get_ssl_mode().into())
    }

    /// Returns the danger of a mode for a server; `None` if the server is on this machine, or its name is verified.
    pub(super) fn of(server: String, is_local: bool, mode: SslMode) -> Option<Self> {
        let danger = mode.danger().filter(|_| !is_local)?;
        Some(Self {
            server,
            mode,
            danger,
        })
    }
}

impl std::error::Error for Unverified {}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            mode,
            danger,
        } = self;
        let mode = mode.name();
        write!(
            f,
            "{server} is another machine, and sslmode={mode} {danger}"
        )
    }
}
