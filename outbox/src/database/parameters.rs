//! Parameters of a database's URL.

use std::time::Duration;

use postroom_message::address::{InvalidUrl, Url};

use super::{SslMode, TargetSession};

const KNOWN: &str = "host, hostaddr, port, dbname, user, password, sslmode, sslrootcert, sslcert, sslkey, target_session_attrs, connect_timeout, application_name, options and statement-cache-capacity";

/// Parameters of libpq that sqlx does not know, with the values that ask for what sqlx does anyway; none for any value.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("keepalives", &[]),
    ("keepalives_idle", &[]),
    ("keepalives_interval", &[]),
    ("keepalives_count", &[]),
    ("tcp_user_timeout", &[]),
    ("fallback_application_name", &[]),
    ("krbsrvname", &[]),
    ("sslcompression", &[]),
    (
        "client_encoding",
        &["UTF8", "utf8", "UTF-8", "utf-8", "auto"],
    ),
    ("gssencmode", &["disable", "prefer"]),
    ("channel_binding", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("sslnegotiation", &["postgres"]),
    ("sslcertmode", &["allow"]),
    ("sslsni", &["1"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
];

/// Parameters of a URL, with the environment's where the URL has none.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) host: Option<String>,
    pub(super) hostaddr: Option<String>,
    pub(super) port: Option<String>,
    pub(super) ssl_mode: Option<SslMode>,
    pub(super) root_certificate: Option<String>,
    pub(super) target: TargetSession,
    pub(super) connect_timeout: Option<Duration>,
    /// Parameters for sqlx, with sqlx's names.
    pub(super) passed_on: Vec<(String, String)>,
}

impl Parameters {
    /// Reads a URL's login, database and query, and then the environment.
    pub(super) fn read(
        url: &Url,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidUrl> {
        let mut read = Self::default();
        let database = url.path.as_ref().filter(|path| !path.is_empty());
        for (name, value) in [
            ("user", url.user.as_ref()),
            ("password", url.password.as_ref()),
            ("dbname", database),
        ] {
            if let Some(value) = value {
                read.pass_on(name, value);
            }
        }
        let mut target = None;
        for (name, value) in &url.query {
            match name.as_str() {
                "target_session_attrs" => target = Some(parse_target(value)?),
                "connect_timeout" => read.connect_timeout = parse_timeout(value)?,
                name => read.set(name, value)?,
            }
        }
        for (variable, name) in [
            ("PGSSLMODE", "sslmode"),
            ("PGSSLROOTCERT", "sslrootcert"),
            ("PGSSLCERT", "sslcert"),
            ("PGSSLKEY", "sslkey"),
        ] {
            let value = environment(variable).filter(|_| !read.is_set(name));
            // A certificate or key in the variable itself is read by sqlx.
            if let Some(value) = value
                && (name == "sslrootcert" || !value.starts_with("-----BEGIN"))
            {
                read.set(name, &value)?;
            }
        }
        if target.is_none() {
            let value = environment("PGTARGETSESSIONATTRS");
            target = value.map(|value| parse_target(&value)).transpose()?;
        }
        read.target = target.unwrap_or_default();
        if read.connect_timeout.is_none()
            && let Some(value) = environment("PGCONNECT_TIMEOUT")
        {
            read.connect_timeout = parse_timeout(&value)?;
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidUrl> {
        match name {
            "host" => self.host = Some(value.to_owned()),
            "hostaddr" => self.hostaddr = Some(value.to_owned()),
            "port" => self.port = Some(value.to_owned()),
            "sslmode" | "ssl-mode" => {
                let mode = SslMode::parse(value);
                self.ssl_mode = Some(mode.ok_or(InvalidUrl::Value {
                    name: "sslmode",
                    value: value.to_owned(),
                    must: SslMode::VALUES,
                })?);
            }
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => {
                self.root_certificate = Some(value.to_owned());
            }
            "sslcert" | "ssl-cert" => self.pass_on("sslcert", value),
            "sslkey" | "ssl-key" => self.pass_on("sslkey", value),
            "statement-cache-capacity" => {
                if value.parse::<usize>().is_err() {
                    return Err(InvalidUrl::Value {
                        name: "statement-cache-capacity",
                        value: value.to_owned(),
                        must: "must be a whole number",
                    });
                }
                self.pass_on(name, value);
            }
            "dbname" | "user" | "password" | "application_name" | "options" => {
                self.pass_on(name, value);
            }
            name if name.starts_with("options[") && name.ends_with(']') => {
                self.pass_on(name, value);
            }
            name => return without_effect(name, value),
        }
        Ok(())
    }

    fn is_set(&self, name: &str) -> bool {
        match name {
            "sslmode" => self.ssl_mode.is_some(),
            "sslrootcert" => self.root_certificate.is_some(),
            name => self.passed_on.iter().any(|(known, _)| known == name),
        }
    }

    /// Replaces the parameter of this name, if there is one.
    fn pass_on(&mut self, name: &str, value: &str) {
        self.passed_on.retain(|(known, _)| known != name);
        self.passed_on.push((name.to_owned(), value.to_owned()));
    }
}

fn without_effect(name: &str, value: &str) -> Result<(), InvalidUrl> {
    let found = WITHOUT_EFFECT.iter().find(|(known, _)| *known == name);
    match found {
        None => Err(InvalidUrl::Parameter {
            name: name.to_owned(),
            known: KNOWN,
        }),
        Some((_, values)) if values.is_empty() || values.contains(&value) => Ok(()),
        Some((name, _)) => Err(InvalidUrl::Value {
            name,
            value: value.to_owned(),
            must: "this value is not supported; leave the parameter out",
        }),
    }
}

fn parse_target(value: &str) -> Result<TargetSession, InvalidUrl> {
    TargetSession::parse(value).ok_or_else(|| InvalidUrl::Value {
        name: "target_session_attrs",
        value: value.to_owned(),
        must: TargetSession::VALUES,
    })
}

/// Parses seconds; 0 and less mean no limit, as in libpq.
fn parse_timeout(value: &str) -> Result<Option<Duration>, InvalidUrl> {
    let seconds: i32 = value.parse().map_err(|_| InvalidUrl::Value {
        name: "connect_timeout",
        value: value.to_owned(),
        must: "must be a whole number of seconds",
    })?;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    Ok(seconds.map(Duration::from_secs))
}
