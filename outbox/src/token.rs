//! A list of messages, carried from request to request, whose effects a later request waits for.

use std::{fmt, str::FromStr};

use crate::{EventType, InvalidName, MessageId, Topic, assert_valid_event};

/// The messages that a request has published, for a later request that wants to see their effects.
///
/// The service that publishes puts the token into a header or a cookie of its answer; the client sends the token
/// along; the service whose consumer handles the messages waits for them, for a limited time, with `inbox::Waiter`.
/// The text is safe in a cookie and in a header: topics and ids as `application/x-www-form-urlencoded`.
///
/// ```
/// # use outbox::{ConsistencyToken, MessageId};
/// # struct OrderPlaced;
/// # impl outbox::Event for OrderPlaced {
/// #     const TOPIC: &'static str = "orders.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # impl serde::Serialize for OrderPlaced {
/// #     fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_unit() }
/// # }
/// # fn f(id: MessageId) -> Result<(), Box<dyn std::error::Error>> {
/// // `id` is what `publish` returned.
/// let token = ConsistencyToken::of::<OrderPlaced>(id);
/// let header = token.to_string(); // orders.placed=01930b2e-…
/// assert_eq!(header.parse::<ConsistencyToken>()?, token);
/// # Ok(())
/// # }
/// # f(MessageId::new()).unwrap();
/// ```
///
/// A client can write any text: whoever waits must limit the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsistencyToken(Vec<(Topic, MessageId)>);

/// Reason why a text is no [`ConsistencyToken`], or why a message cannot be added to one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is full.
    #[error(
        "cannot add a message to a consistency token: it has {}, the most that fit into a header; publish one message that sums them up, and wait for that",
        ConsistencyToken::MAX_MESSAGES
    )]
    Full,
    /// An id is no UUID.
    #[error("cannot read a consistency token: the id {0:?} is no UUID")]
    Id(String),
    /// A topic breaks a rule.
    #[error("cannot read a consistency token")]
    Topic(#[from] InvalidName),
}

impl ConsistencyToken {
    /// Largest number of messages: with topics of usual length the text stays below the 4 kB of a cookie.
    pub const MAX_MESSAGES: usize = 32;

    /// Makes a token without messages.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes a token of one published event.
    pub fn of<E: EventType>(id: impl Into<MessageId>) -> Self {
        const { assert_valid_event::<E>() };
        let topic = Topic::new(E::TOPIC).ok();
        Self(topic.map(|topic| (topic, id.into())).into_iter().collect())
    }

    /// Adds a published message.
    ///
    /// # Errors
    /// Fails if the token has [`MAX_MESSAGES`](Self::MAX_MESSAGES).
    pub fn add(&mut self, topic: Topic, id: impl Into<MessageId>) -> Result<(), TokenError> {
        if self.0.len() >= Self::MAX_MESSAGES {
            return Err(TokenError::Full);
        }
        self.0.push((topic, id.into()));
        Ok(())
    }

    /// Returns the messages, each with its topic.
    pub fn messages(&self) -> impl Iterator<Item = (&Topic, MessageId)> {
        self.0.iter().map(|(topic, id)| (topic, *id))
    }

    /// Returns `true` if the token has no messages.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConsistencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (topic, id) in self.messages() {
            text.append_pair(topic.as_str(), &id.to_string());
        }
        f.write_str(&text.finish())
    }
}

impl FromStr for ConsistencyToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut token = Self::new();
        for (topic, id) in form_urlencoded::parse(text.as_bytes()) {
            let topic = Topic::new(topic)?;
            let Ok(id) = id.parse::<MessageId>() else {
                return Err(TokenError::Id(id.into_owned()));
            };
            token.add(topic, id)?;
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{ConsistencyToken, TokenError};
    use crate::{MessageId, Topic};

    proptest! {
        #[test]
        fn a_token_survives_its_text_which_fits_into_a_cookie(
            messages in proptest::collection::vec(("\\PC{1,20}", any::<u128>()), 0..=32),
        ) {
            let mut token = ConsistencyToken::new();
            for (topic, id) in messages {
                if let Ok(topic) = Topic::new(topic) {
                    token.add(topic, MessageId::from(Uuid::from_u128(id))).unwrap();
                }
            }
            let text = token.to_string();
            // cookie-octet, RFC 6265, section 4.1.1
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)));
            prop_assert_eq!(text.parse::<ConsistencyToken>().unwrap(), token);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = text.parse::<ConsistencyToken>();
        }
    }

    #[test]
    fn a_forged_token_is_refused_with_the_reason() {
        let id = MessageId::new();
        let parse = |text: String| text.parse::<ConsistencyToken>();
        assert_eq!(parse("a=7".into()), Err(TokenError::Id("7".into())));
        assert!(matches!(
            parse(format!("a.*={id}")),
            Err(TokenError::Topic(_))
        ));
        let many = vec![format!("a={id}"); 33].join("&");
        assert_eq!(parse(many), Err(TokenError::Full));
        assert!(parse(String::new()).unwrap().is_empty());
    }
}
