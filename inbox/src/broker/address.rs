//! Where the broker is, without showing the password.

use std::{fmt, str::FromStr};

use lapin::uri::AMQPUri;

/// A broker's URL that does not show its password when it is printed.
#[derive(Clone)]
pub(crate) struct Address(AMQPUri);

impl Address {
    pub(super) const fn uri(&self) -> &AMQPUri {
        &self.0
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        url.parse().map(Self)
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
}
