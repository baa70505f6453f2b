//! Messages of real clients of other languages, as the inbox reads them: the table in docs/wire.md.

mod table;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use inbox::{Context, HandlerError, Incoming};
use outbox::HeaderValue;
use postroom_testkit::eventually;
use sqlx::PgPool;

use crate::world::{Placed, Running, World};
use table::{Outcome, Row};

/// Result of each case.
type Found = Arc<Mutex<BTreeMap<String, Outcome>>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Installs the clients; returns the commands that run a script of Python and of Node.
fn clients() -> [Vec<String>; 2] {
    let installed = Command::new(root().join("scripts/clients"))
        .stdin(Stdio::null())
        .output()
        .expect("scripts/clients");
    let error = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "scripts/clients: {error}");
    let commands = String::from_utf8(installed.stdout).unwrap();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let commands: Vec<Vec<String>> = commands.lines().map(words).collect();
    commands.try_into().expect("two commands")
}

/// Runs a script that publishes to a broker.
fn publish(command: &[String], script: &str, url: &str) {
    let (program, arguments) = command.split_first().unwrap();
    let published = Command::new(program)
        .args(arguments)
        .arg(root().join("tests/clients").join(script))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("running a client");
    let error = String::from_utf8_lossy(&published.stderr);
    assert!(published.status.success(), "{script}: {error}");
}

/// Writes down the message that a handler was given.
fn handled(message: &Incoming, now: DateTime<Utc>) -> Outcome {
    let mut fields = BTreeMap::new();
    let texts = [
        ("id", &message.message_id),
        ("source", &message.source),
        ("key", &message.key),
        ("type", &message.type_name),
        ("content_type", &message.content_type),
    ];
    for (name, text) in texts {
        let text = text.clone().unwrap_or_else(|| "none".to_owned());
        fields.insert(name.to_owned(), text);
    }
    let time = message.occurred_at.map(|time| {
        let is_now = (time - now).abs() < chrono::TimeDelta::hours(1);
        if is_now {
            "now".to_owned()
        } else {
            time.to_rfc3339()
        }
    });
    fields.insert("time".to_owned(), time.unwrap_or_else(|| "none".to_owned()));
    for (name, value) in message.headers.iter() {
        let value = match value {
            HeaderValue::Float(value) => format!("{value:?}"),
            value => value.to_text().into_owned(),
        };
        fields.insert(name.to_owned(), value);
    }
    Outcome::Handled(fields)
}

/// Waits until each row has a result; adds the parked messages to `found`.
async fn settle(found: &Found, database: &PgPool, rows: &[Row]) {
    let query = "SELECT coalesce(headers ->> 'case', ''), reason, coalesce(error, '')
                 FROM inbox.parked WHERE state = 'dead'";
    let settled = eventually("each message is handled or dead", async || {
        let dead: Vec<(String, String, String)> =
            sqlx::query_as(query).fetch_all(database).await.unwrap();
        let mut found = found.lock().unwrap();
        for (case, reason, error) in dead {
            found.insert(case, Outcome::Dead { reason, error });
        }
        rows.iter().all(|row| found.contains_key(&row.case))
    });
    // If some are missing, the comparison with the table says which.
    drop(AssertUnwindSafe(settled).catch_unwind().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_reads_what_real_clients_send_as_the_table_says() {
    let rows = table::read(&root().join("docs/wire.md"));
    let [python, node] = clients();
    let world = World::new().await;
    let found = Found::default();
    let seen = Arc::clone(&found);
    let handler = move |ctx: Context, event: Placed| {
        let is_whole = event.n == 1 && event.customer == "a";
        let message = ctx.message();
        let case = message.headers.text("case").unwrap_or_default().to_owned();
        let outcome = handled(message, Utc::now());
        seen.lock().unwrap().insert(case, outcome);
        async move {
            if is_whole {
                Ok(())
            } else {
                Err(HandlerError::reject("not the event that was sent"))
            }
        }
    };
    // Many rows have the same key.
    let builder = world.consumer().release_dead_keys(true);
    let builder = builder.on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    publish(&python, "publish.py", &world.broker.url());
    publish(&node, "publish.js", &world.broker.url());
    settle(&found, &world.database.admin, &rows).await;
    running.stop().await;
    table::compare(&rows, &found.lock().unwrap());
}
