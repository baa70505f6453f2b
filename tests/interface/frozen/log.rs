//! The log of a relay that starts, publishes and stops.

use postroom_testkit::{Login, Stack, Tap, eventually};
use serde_json::Value;

use crate::shape::Shape;

/// Starts a relay, lets it publish a message, stops it, and returns its log.
async fn logged(format: &str) -> String {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let environment = [
        ("POSTROOM_LOG_FORMAT", format),
        ("POSTROOM_LEES_TIMEOUT", "1s"),
    ];
    let mut relay = stack.relay_with(&environment).await;
    sqlx::query("SELECT outbox.publish('bound', '1'), outbox.publish('unbound', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    tap.distinct(1).await;
    eventually("the unbound topic is logged", async || {
        relay.logged().contains("no queue is bound")
    })
    .await;
    relay.signal("TERM");
    assert!(relay.exited().await.success());
    relay.logged()
}

/// Cuts a target down to the name of its crate; modules are renamed.
fn origin(target: &str) -> String {
    target.split("::").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_log_in_json_is_as_before() {
    let mut shape = Shape::new(&["$.level", "$.target", "$.fields.message"]);
    for line in logged("json").await.lines() {
        let mut line: Value = serde_json::from_str(line).expect("a line of JSON");
        let target = line["target"].as_str().expect("a target");
        line["target"] = origin(target).into();
        shape.add(&line);
    }
    golden::check("log/json.txt", &shape.text());
}

#[tokio::test]
async fn the_log_for_people_is_as_before() {
    let log = logged("text").await;
    let mut lines: Vec<String> = log.lines().map(line).collect();
    lines.sort();
    golden::check("log/text.txt", &lines.join("\n"));
}

/// A line of the log: level, origin, message and the names of the fields.
fn line(text: &str) -> String {
    let (time, rest) = text.split_once(' ').expect("a time");
    assert!(
        chrono::DateTime::parse_from_rfc3339(time).is_ok(),
        "a time: {text}"
    );
    let rest = rest.trim_start();
    let (level, rest) = rest.split_once(' ').expect("a level");
    let (target, said) = rest.split_once(": ").expect("a target");
    let words = said.split(' ').map(|word| match word.split_once('=') {
        Some((name @ ("version" | "database" | "broker"), _)) => format!("{name}=…"),
        _ => word.to_owned(),
    });
    let said: Vec<String> = words.collect();
    format!("<time> {level:>5} {}: {}", origin(target), said.join(" "))
}
