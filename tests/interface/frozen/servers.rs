//! The objects that relay and consumer create at the servers, and the names of the relay's sessions.

use std::fmt::Write as _;

use postroom_testkit::{Login, Stack, eventually};
use serde_json::Value;
use support::ConsumerProcess;

use crate::fence::without_identity;

/// Differs between releases of RabbitMQ: only those with a limit are told that there is none.
const LIMIT: &str = "x-delivery-limit";

#[tokio::test]
async fn queues_exchanges_and_sessions_are_as_before() {
    let stack = Stack::new().await;
    ConsumerProcess::prepare(&stack.database).await;
    let relay = stack.relay().await;
    let consumer = ConsumerProcess::start(&stack, 1);
    eventually("queues are bound and sessions are open", async || {
        listed(&stack, "bindings").len() == 3 && sessions(&stack).await.len() == 3
    })
    .await;
    let mut text = String::new();
    for kind in ["exchanges", "queues", "bindings"] {
        writeln!(text, "## {kind}").unwrap();
        let mut lines: Vec<String> = listed(&stack, kind).iter().map(line).collect();
        lines.sort();
        writeln!(text, "{}\n", lines.join("\n")).unwrap();
    }
    let pid = relay.pid().to_string();
    writeln!(text, "## sessions of the relay's user").unwrap();
    for name in sessions(&stack).await {
        let name = name.replace(&pid, "<pid>");
        let words = name.split(' ').map(|word| match word.split_once(':') {
            Some((_, process)) => format!("<host>:{process}"),
            None => word.to_owned(),
        });
        writeln!(text, "{}", words.collect::<Vec<_>>().join(" ")).unwrap();
    }
    consumer.stop().await;
    golden::check("servers.txt", &text);
}

/// Things of a kind in the virtual host, without those of the broker's own.
fn listed(stack: &Stack, kind: &str) -> Vec<Value> {
    let path = format!("{kind}/{}", stack.broker.name);
    let all = stack.broker.request("GET", &path, None);
    let all = all.as_array().expect("a list").iter();
    let own = |thing: &&Value| {
        let name = thing["name"].as_str();
        !name.is_some_and(|name| name.is_empty() || name.starts_with("amq."))
    };
    all.filter(own).cloned().collect()
}

/// Returns the properties of a declared object as a line.
fn line(thing: &Value) -> String {
    let mut words = Vec::new();
    for property in [
        "source",
        "name",
        "destination",
        "routing_key",
        "type",
        "durable",
        "auto_delete",
        "exclusive",
        "internal",
        "arguments",
    ] {
        let mut value = thing[property].clone();
        if let Some(arguments) = value.as_object_mut() {
            arguments.remove(LIMIT);
        }
        if !value.is_null() {
            words.push(format!(
                "{property}={}",
                without_identity(&value.to_string())
            ));
        }
    }
    words.join(" ")
}

/// Names of the relay's sessions.
async fn sessions(stack: &Stack) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT application_name FROM pg_stat_activity
         WHERE datname = current_database() AND usename = $1 ORDER BY 1",
    )
    .bind("postroom_test_relay")
    .fetch_all(&mut stack.database.connect(Login::Admin).await)
    .await
    .expect("asking for sessions")
}
