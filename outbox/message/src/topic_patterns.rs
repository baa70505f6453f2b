//! Sets of topics, given by patterns.

/// Patterns of topics as in bindings of a topic exchange (AMQP 0-9-1, section 3.1.3.3): dots
/// separate words, `*` stands for one word, `#` for any number of words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPatterns(Vec<String>);

impl TopicPatterns {
    /// Makes a set of patterns.
    pub const fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Returns `true` if any pattern matches the topic.
    pub fn matches(&self, topic: &str) -> bool {
        let words: Vec<&str> = topic.split('.').collect();
        self.0.iter().any(|pattern| {
            let pattern: Vec<&str> = pattern.split('.').collect();
            matches(&pattern, &words)
        })
    }
}

fn matches(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=words.len()).any(|skip| matches(rest, &words[skip..])),
        ([first, rest @ ..], [word, words @ ..]) => {
            (*first == "*" || first == word) && matches(rest, words)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::TopicPatterns;

    #[test]
    fn patterns_match_as_a_topic_exchange_does() {
        let matches =
            |pattern: &str, topic| TopicPatterns::new(vec![pattern.into()]).matches(topic);
        for (pattern, topic) in [
            ("a.b", "a.b"),
            ("a.*", "a.b"),
            ("#", ""),
            ("#", "a.b.c"),
            ("a.#", "a"),
            ("#.c", "a.b.c"),
            ("a.#.c", "a.c"),
        ] {
            assert!(matches(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("a.b", "a.c"),
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("#.c", "a.b"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
        assert!(!TopicPatterns::default().matches("a"));
    }
}
