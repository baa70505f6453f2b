//! Texts that commands print for people.

use std::fmt::Write as _;

use postroom_testkit::{Database, Login, Stack, VirtualHost, command::relay};

use crate::fence::without_identity;

/// Parked messages with times that do not pass.
const PARKED: &str = "
INSERT INTO outbox.parked (position, lane, reason, holds, attempts, due_at, detail, parked_at, message_id, topic,
                           key, type, content_type, headers, occurred_at, deliver_after, payload)
SELECT position, 0, reason, holds, attempts, due_at, detail, '2026-01-02 03:04:06Z',
       '0190b5d2-7e7a-7000-8000-000000000001', 'orders.placed', key, 'shop.orders.Placed', 'application/json',
       '{\"text\": \"a\"}', '2026-01-02 03:04:05Z', NULL, '{\"order\": 1}'
FROM (VALUES (7, 'rejected', 'key', 1, NULL::timestamptz, 'too long', 'customer-7'),
             (8, 'behind', 'key', 0, NULL, NULL, 'customer-7'),
             (9, 'unroutable', 'topic', 3, '2026-01-02 04:00:00Z', NULL, 'Zo\u{eb}'),
             (10, 'scheduled', 'nothing', 0, '9999-12-31 23:59:59Z', NULL, NULL))
     AS p (position, reason, holds, attempts, due_at, detail, key)";

/// The commands' texts on a stack, with its names replaced.
async fn printed(stack: &Stack, login: Login, commands: &[&[&str]]) -> String {
    let mut text = String::new();
    let environment = [
        ("POSTROOM_DATABASE_URL", stack.database.url(login)),
        ("POSTROOM_AMQP_URL", stack.broker.url()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    for arguments in commands {
        let ended = relay(arguments, &environment).await;
        writeln!(text, "$ relay {}", arguments.join(" ")).unwrap();
        for line in (ended.stdout + &ended.stderr).lines() {
            writeln!(text, "{}", anonymous(line)).unwrap();
        }
        writeln!(text, "exit code {}\n", ended.code.unwrap_or(-1)).unwrap();
    }
    text
}

/// A line without the addresses of this run's servers and the identity of its database.
fn anonymous(line: &str) -> String {
    let words = line.split(' ').map(|word| match word.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://<user>:***@<address>"),
        None => without_identity(word),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn texts_of_commands_are_as_before() {
    let stack = Stack {
        database: Database::empty().await,
        broker: VirtualHost::new(),
    };
    let mut text = String::new();
    let migrate = ["migrate", "--roles"];
    let before: [&[&str]; 4] = [&["status"], &["check"], &migrate, &migrate];
    text += &printed(&stack, Login::Owner, &before[..1]).await;
    text += &printed(&stack, Login::Relay, &before[1..2]).await;
    text += &printed(&stack, Login::Owner, &before[2..]).await;
    let empty: [&[&str]; 4] = [&["check"], &["status"], &["parked", "list"], &["rebase"]];
    text += &printed(&stack, Login::Relay, &empty).await;
    stack.database.ddl(PARKED).await;
    let filled: [&[&str]; 9] = [
        &["status"],
        &["parked", "list"],
        &["parked", "list", "--json"],
        &["parked", "list", "--key", "nobody's"],
        &["parked", "show", "9"],
        &["parked", "show", "11"],
        &["parked", "retry", "7"],
        &["parked", "discard", "7", "8", "11"],
        &["parked", "discard", "--reason", "scheduled"],
    ];
    text += &printed(&stack, Login::Relay, &filled).await;
    golden::check("printed.txt", &text);
}
