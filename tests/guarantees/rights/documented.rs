//! The rights that docs/operations.md lists, granted to users of a test.

use std::path::Path;

use postroom_testkit::{Stack, User};

/// The user of the relays, in the document.
const RELAY: &str = "orders_relay";

/// The user and queue of the consumer, in the document.
const CONSUMER: &str = "billing";

/// The user of relays whose service sends commands, in the document.
const COMMANDING: &str = "accounts_relay";

/// The user and queue of a consumer that takes commands, in the document.
const COMMANDED: &str = "credits";

/// The user and plain queue of the consumer with partitions, in the document.
pub(crate) const PARTITIONED: &str = "invoicing";

/// Lines of the document that grant something, as words after `rabbitmqctl set_`.
fn lines() -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let document = std::fs::read_to_string(path).unwrap();
    let granting = document
        .lines()
        .filter_map(|line| line.strip_prefix("rabbitmqctl set_"));
    let lines: Vec<Vec<String>> = granting
        .map(|line| {
            let words = line.split_whitespace();
            words
                .map(|word| word.trim_matches('\'').to_owned())
                .collect()
        })
        .collect();
    assert_eq!(lines.len(), 10, "{lines:?}");
    lines
}

/// Grants a user the rights that the document grants to the user `documented`, with some words replaced.
fn grant(user: &User, documented: &str, change: impl Fn(&str) -> String) {
    for line in lines() {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        match words[..] {
            ["permissions", "-p", "/", name, configure, write, read] if name == documented => {
                user.grant(&change(configure), &change(write), &change(read));
            }
            ["topic_permissions", "-p", "/", name, exchange, write, read] if name == documented => {
                user.grant_topics(exchange, &change(write), &change(read));
            }
            ["permissions" | "topic_permissions", "-p", "/", name, ..] => {
                let users = [RELAY, CONSUMER, COMMANDING, COMMANDED, PARTITIONED];
                assert!(users.contains(&name), "{line:?}");
            }
            _ => panic!("{line:?}"),
        }
    }
}

/// Runs `relay check` as the administrator, which declares the exchange. Returns the pattern of the name of the fence,
/// the queue for which the relay's user needs rights.
pub(crate) async fn declare_exchange_and_find_fence(stack: &Stack) -> String {
    let checked = stack.command(&["check", "--json"]).await.json();
    let fence = checked.as_array().unwrap().iter();
    let fence = fence.clone().find(|f| f["what"] == "fence").unwrap();
    let detail = fence["detail"].as_str().unwrap();
    // The detail is a text for people; the pattern is its only word with a `^`.
    let pattern = detail.split(' ').find(|word| word.starts_with('^'));
    pattern.expect(detail).to_owned()
}

/// The user of the outbox's relays.
pub(crate) fn relay(stack: &Stack, fence: &str) -> User {
    let user = User::new(&stack.broker);
    grant(&user, RELAY, |expression| {
        let is_fence = expression.starts_with(r"^postroom\.fence\.");
        if is_fence { fence } else { expression }.to_owned()
    });
    user
}

/// The user of relays whose service sends commands to the consumer `credits`.
pub(crate) fn commanding(stack: &Stack, fence: &str) -> User {
    let user = User::new(&stack.broker);
    grant(&user, COMMANDING, |expression| {
        let is_fence = expression.starts_with(r"^postroom\.fence\.");
        if is_fence { fence } else { expression }.to_owned()
    });
    user
}

/// The user of the consumer `credits`, which takes commands.
pub(crate) fn commanded(stack: &Stack) -> User {
    let user = User::new(&stack.broker);
    grant(&user, COMMANDED, str::to_owned);
    user
}

/// The user of a consumer, whose queue has its name.
pub(crate) fn consumer(stack: &Stack, name: &str) -> User {
    let user = User::new(&stack.broker);
    grant(&user, CONSUMER, |expression| {
        expression.replace(CONSUMER, name)
    });
    user
}

/// The user of the consumer with partitions.
pub(crate) fn partitioned(stack: &Stack) -> User {
    let user = User::new(&stack.broker);
    grant(&user, PARTITIONED, str::to_owned);
    user
}

/// Settings of a relay that logs in as this user, and leaves the exchange to the administrator.
pub(crate) fn settings(user: &User) -> [(&'static str, String); 2] {
    [
        ("POSTROOM_AMQP_URL", user.url()),
        ("POSTROOM_AMQP_DECLARE_EXCHANGE", "false".to_owned()),
    ]
}

/// Runs `relay check`; returns its finding about the fence, `ok` and the detail.
pub(crate) async fn checked_fence(stack: &Stack, user: Option<&User>) -> (bool, String) {
    let settings = user.map(settings);
    let changes: Vec<(&str, &str)> = settings
        .iter()
        .flatten()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let ended = stack.command_with(&["check", "--json"], &changes).await;
    let findings: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    let fence = findings.iter().find(|f| f["what"] == "fence").unwrap();
    let ok = fence["ok"] == true;
    assert!(ok || ended.code == Some(1), "{ended:?}");
    (ok, fence["detail"].as_str().unwrap().to_owned())
}
