//! The parts of a URL, decoded strictly.
//!
//! General parsers of URLs strip line breaks, resolve `..` and take the rest of a password with a `/` in it for a path.
//! They then name another host than the reader sees. Here such a URL is an error.

use super::InvalidHost;

/// Parts of a URL `scheme://user:password@hosts/path?key=value&…`.
///
/// The hosts are kept as written, since each scheme has its own rules for them. All other parts are decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Scheme in lower case.
    pub scheme: String,
    /// User; `None` if the URL has none.
    pub user: Option<String>,
    /// Password; `None` if the URL has none.
    pub password: Option<String>,
    /// Hosts and ports, as written.
    pub hosts: String,
    /// Path after its first `/`; `None` if the URL has no `/`.
    pub path: Option<String>,
    /// Parameters, in their order.
    pub query: Vec<(String, String)>,
}

/// Error of a URL. It never contains the user or the password, nor a part that may be a piece of the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// The text has no scheme.
    #[error("it does not begin with {0}://")]
    Scheme(&'static str),
    /// A character of the URL must be escaped.
    #[error(
        "it contains a space, a line break or another control character; write them as %20, %0A, …"
    )]
    Space,
    /// A `%` begins no escape.
    #[error("a % is not followed by two hexadecimal digits; write the character % as %25")]
    Escape,
    /// A part is no text when decoded.
    #[error("its {0} is not UTF-8, or contains a zero byte")]
    Text(&'static str),
    /// An `@` follows the host, or there are two: the place of the host is not certain.
    #[error(
        "an @ stands where none may be, so the host is not certain; in user and password write @ as %40, / as %2F, ? as %3F, # as %23 and : as %3A"
    )]
    At,
    /// The URL has a fragment.
    #[error("it contains a #; write it as %23")]
    Fragment,
    /// A password without a user.
    #[error("it has a password and no user")]
    NoUser,
    /// The host is wrong.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// The port is no number from 1 to 65535.
    #[error("the port of {0} is no number from 1 to 65535")]
    Port(String),
    /// A parameter of the query is unknown.
    #[error("the parameter {name:?} is not known; known are {known}")]
    Parameter {
        /// The parameter's name.
        name: String,
        /// All known parameters.
        known: &'static str,
    },
    /// A parameter has no `=`.
    #[error("a parameter after ? has no value; write name=value")]
    NoValue,
    /// A parameter has a value that is not supported.
    #[error("the parameter {name} = {value:?}: {must}")]
    Value {
        /// The parameter's name.
        name: &'static str,
        /// The refused value.
        value: String,
        /// The rule.
        must: &'static str,
    },
    /// A parameter is given twice.
    #[error("the parameter {0} is given twice")]
    Twice(String),
    /// Another rule of the scheme is broken.
    #[error("{0}")]
    Rule(&'static str),
}

impl Url {
    /// Divides a URL into its parts and decodes them.
    ///
    /// # Errors
    /// Fails for a text that is no URL, and for one whose host is not certain. `example` is the expected scheme.
    pub fn parse(text: &str, example: &'static str) -> Result<Self, InvalidUrl> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidUrl::Space);
        }
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(scheme, _)| {
                scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'+')
            })
            .ok_or(InvalidUrl::Scheme(example))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let query_start = rest.find('?').unwrap_or(rest.len());
        let (path, query) = rest.split_at(query_start);
        // An `@` in the path may end a login whose password has an unescaped `/` or `#`.
        if path.contains('@') || authority.matches('@').count() > 1 {
            return Err(InvalidUrl::At);
        }
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let (login, hosts) = match authority.split_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':')) {
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => (login, None),
            None => (None, None),
        };
        let user = user.filter(|user| !user.is_empty());
        if user.is_none() && password.is_some_and(|password| !password.is_empty()) {
            return Err(InvalidUrl::NoUser);
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user: user.map(|user| decode(user, "user")).transpose()?,
            password: password
                .map(|password| decode(password, "password"))
                .transpose()?,
            hosts: hosts.to_owned(),
            path: path
                .strip_prefix('/')
                .map(|path| decode(path, "path"))
                .transpose()?,
            query: parameters(query.strip_prefix('?').unwrap_or_default())?,
        })
    }

    /// Decodes `%xx` in a host. An IPv6 address in brackets is left alone: there `%` begins a zone id.
    ///
    /// # Errors
    /// Fails if a `%` begins no escape, or the decoded text is no text.
    pub fn decode_host(host: &str) -> Result<String, InvalidUrl> {
        if host.starts_with('[') {
            return Ok(host.to_owned());
        }
        decode(host, "host")
    }

    /// Separates a host from its port; an empty port is none.
    ///
    /// # Errors
    /// Fails if the port is no number from 1 to 65535, and for an IPv6 address without brackets.
    pub fn split_port(host_and_port: &str) -> Result<(&str, Option<u16>), InvalidUrl> {
        let after_address = host_and_port.rfind(']').map_or(0, |end| end + 1);
        let Some(colon) = host_and_port[after_address..].find(':') else {
            return Ok((host_and_port, None));
        };
        let (host, port) = host_and_port.split_at(after_address + colon);
        let port = &port[1..];
        let is_address = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        if port.contains(':') && is_address(host_and_port) {
            return Err(InvalidHost::NoBrackets(host_and_port.to_owned()).into());
        }
        Ok((host, parse_port(port, host)?))
    }
}

/// Parses a port of digits only; returns `None` for an empty text.
///
/// # Errors
/// Fails unless the port is a number from 1 to 65535.
pub(crate) fn parse_port(port: &str, host: &str) -> Result<Option<u16>, InvalidUrl> {
    if port.is_empty() {
        return Ok(None);
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().ok();
    let number = number.filter(|port| is_number && *port > 0);
    // The text is not repeated: it may be a piece of a password.
    number
        .map(Some)
        .ok_or_else(|| InvalidUrl::Port(host.to_owned()))
}

fn parameters(query: &str) -> Result<Vec<(String, String)>, InvalidUrl> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut parameters: Vec<(String, String)> = Vec::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').ok_or(InvalidUrl::NoValue)?;
        let (name, value) = (decode(name, "query")?, decode(value, "query")?);
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(InvalidUrl::Twice(name));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

/// Decodes `%xx` (RFC 3986, section 2.1). A `+` stays a `+`.
fn decode(text: &str, part: &'static str) -> Result<String, InvalidUrl> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some(digit(digits[0])? * 16 + digit(digits[1])?)
        });
        decoded.push(digits.ok_or(InvalidUrl::Escape)? as u8);
        rest = &rest[2..];
    }
    match String::from_utf8(decoded) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(InvalidUrl::Text(part)),
    }
}

impl std::fmt::Debug for Url {
    /// Leaves out user, password and parameters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.hosts)
    }
}

#[cfg(test)]
mod tests;
