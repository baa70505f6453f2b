//! Errors that the broker sends: reply codes (AMQP 0-9-1, section 1.2), and RabbitMQ's texts where a code has
//! several meanings.

use lapin::{Error, ErrorKind};

/// Refusal or error that the broker sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// An operator or a shutdown closed the connection (320).
    Closed,
    /// The user, or one of its permissions, is refused (403).
    Access,
    /// The user may not use a topic; other topics may be allowed (403).
    Topic,
    /// Another consumer reads the queue exclusively (403).
    ExclusiveUse,
    /// The object does not exist (404).
    NotFound,
    /// Another connection owns the exclusive queue (405).
    Locked,
    /// The object exists with other arguments (406).
    Inequivalent,
    /// A message names another user than the connection's as its publisher (406).
    UserId,
    /// Another precondition does not hold, such as a valid argument (406).
    Precondition,
    /// The number of connections is limited and reached (530).
    Limit,
    /// The virtual host is missing or not allowed (530).
    NotAllowed,
    /// The broker failed (541).
    Internal,
    /// Any other code.
    Other(u16),
}

impl Refusal {
    /// Reads a client's error; returns `None` if the broker did not send it, as when a connection is lost.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return None;
        };
        let says = |text| error.to_string().contains(text);
        Some(match protocol.get_id() {
            320 => Self::Closed,
            403 if says("access to topic") => Self::Topic,
            403 if says("in exclusive use") => Self::ExclusiveUse,
            403 => Self::Access,
            404 => Self::NotFound,
            405 => Self::Locked,
            406 if says("inequivalent") => Self::Inequivalent,
            406 if says("user_id property set to") => Self::UserId,
            406 => Self::Precondition,
            530 if says("limit") => Self::Limit,
            530 => Self::NotAllowed,
            541 => Self::Internal,
            code => Self::Other(code),
        })
    }
}

#[cfg(test)]
mod tests {
    use lapin::{
        Error, ErrorKind,
        protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
    };

    use super::Refusal;

    fn refusal(kind: impl Into<AMQPErrorKind>, text: &str) -> Option<Refusal> {
        let error = AMQPError::new(kind.into(), text.into());
        Refusal::of(&Error::from(ErrorKind::ProtocolError(error)))
    }

    /// The texts are RabbitMQ's, versions 3.10 to 4.3.
    #[test]
    fn codes_with_several_meanings_are_told_apart_by_their_texts() {
        use AMQPSoftError::{ACCESSREFUSED, PRECONDITIONFAILED};
        for (text, expected) in [
            (
                "write access to topic 'a.b' in exchange 'postroom' refused",
                Refusal::Topic,
            ),
            (
                "queue 'billing' in vhost '/' in exclusive use",
                Refusal::ExclusiveUse,
            ),
            (
                "configure access to queue 'q' refused for user 'u'",
                Refusal::Access,
            ),
        ] {
            assert_eq!(refusal(ACCESSREFUSED, text), Some(expected), "{text}");
        }
        let inequivalent = "inequivalent arg 'type' for exchange 'postroom'";
        assert_eq!(
            refusal(PRECONDITIONFAILED, inequivalent),
            Some(Refusal::Inequivalent)
        );
        let invalid = "invalid arg 'x-expires' for queue 'q'";
        assert_eq!(
            refusal(PRECONDITIONFAILED, invalid),
            Some(Refusal::Precondition)
        );
        let user = "user_id property set to 'orders' but authenticated user was 'guest'";
        assert_eq!(refusal(PRECONDITIONFAILED, user), Some(Refusal::UserId));
        let limit = "access to vhost '/' refused for user 'u': connection limit (0) is reached";
        assert_eq!(
            refusal(AMQPHardError::NOTALLOWED, limit),
            Some(Refusal::Limit)
        );
        let missing = "vhost missing not found";
        assert_eq!(
            refusal(AMQPHardError::NOTALLOWED, missing),
            Some(Refusal::NotAllowed)
        );
        let lost = Error::from(std::io::Error::other("reset"));
        assert_eq!(Refusal::of(&lost), None);
    }
}
