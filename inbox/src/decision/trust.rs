//! The publishers whose messages a consumer handles.

use super::ParkDecision;
use crate::Reason;

/// Longest pattern in bytes: AMQP carries no longer name of a user.
const PATTERN_BYTES: usize = 255;

/// The publishers whose messages a consumer handles, by the broker's user that the property `user_id` names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Patterns of user names; `None` to trust everybody.
    patterns: Option<Vec<String>>,
}

impl Trust {
    /// Trusts the users whose names match one of the patterns.
    pub(crate) const fn only(patterns: Vec<String>) -> Self {
        Self {
            patterns: Some(patterns),
        }
    }

    /// Returns `true` if nobody is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns a pattern that is empty, too long or holds a control character.
    pub(crate) fn invalid(&self) -> Option<&str> {
        let mut patterns = self.patterns.iter().flatten().map(String::as_str);
        patterns.find(|pattern| {
            pattern.is_empty()
                || pattern.len() > PATTERN_BYTES
                || pattern.chars().any(char::is_control)
        })
    }

    /// Decides to park a message of another publisher dead; returns `None` if its publisher is trusted.
    pub(crate) fn refusal(&self, user_id: Option<&str>) -> Option<ParkDecision> {
        let patterns = self.patterns.as_ref()?;
        let text = match user_id {
            Some(user) if patterns.iter().any(|pattern| matches(pattern, user)) => return None,
            Some(user) => format!("`trusted_publishers` does not name its publisher {user:?}"),
            None => "its publisher set no AMQP user-id, which the broker verifies".to_owned(),
        };
        Some(ParkDecision::dead(Reason::Untrusted, text))
    }
}

/// Returns `true` if a pattern matches the whole name; `*` stands for any characters, or none.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        // The first occurrence leaves the most to the pieces that follow.
        match name.split_once(piece) {
            Some((_, after)) => name = after,
            None => return false,
        }
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::{Trust, matches};
    use crate::Reason;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("orders_relay", "orders_relay", true),
            ("orders_relay", "orders_relay2", false),
            ("orders_relay", "Orders_relay", false),
            ("*_relay", "orders_relay", true),
            ("*_relay", "_relay", true),
            ("*_relay", "orders_relay_", false),
            ("orders_*", "payments_orders_", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-bc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*ab*b", "aab", false),
            ("*", "", true),
            ("**", "anybody", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn without_patterns_everybody_is_trusted_and_with_them_only_who_is_named() {
        assert!(Trust::default().refusal(None).is_none());
        let trust = Trust::only(vec!["*_relay".to_owned()]);
        assert!(trust.refusal(Some("orders_relay")).is_none());
        for user in [None, Some("mallory"), Some("")] {
            let refusal = trust.refusal(user).unwrap();
            assert_eq!(refusal.reason, Reason::Untrusted);
            assert!(refusal.is_dead() && !refusal.holds_key);
        }
    }

    #[test]
    fn patterns_are_checked() {
        let invalid = |pattern: &str| {
            Trust::only(vec!["a".into(), pattern.into()])
                .invalid()
                .is_some()
        };
        assert!(invalid("") && invalid("a\n") && invalid("a\0") && invalid(&"a".repeat(256)));
        assert!(!invalid("*") && !invalid(&"a".repeat(255)));
        assert!(Trust::only(Vec::new()).is_empty() && !Trust::default().is_empty());
    }
}
