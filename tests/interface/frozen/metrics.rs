//! Metrics of the relay, as they are scraped.

use std::collections::{BTreeMap, BTreeSet};

use postroom_testkit::{Login, RelayProcess, Stack, Tap, eventually};

/// The exposition without its values, one metric after another.
fn exposed(relay: &RelayProcess) -> String {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let text = relay.metrics();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (shown, name) = if let Some(comment) = line.strip_prefix("# ") {
            (line, comment.split(' ').nth(1))
        } else {
            let (series, _) = line.rsplit_once(' ').expect("a series and its value");
            (series, series.split('{').next())
        };
        let name = name.expect("the name of a metric");
        let family = name.trim_end_matches("_sum").trim_end_matches("_count");
        let lines = metrics.entry(family.to_owned()).or_default();
        lines.insert(shown.to_owned());
    }
    let texts: Vec<String> = metrics
        .into_values()
        .map(|lines| lines.into_iter().collect::<Vec<_>>().join("\n"))
        .collect();
    texts.join("\n\n")
}

#[tokio::test]
async fn metrics_and_their_labels_are_as_before() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let relay = stack.relay().await;
    sqlx::query("SELECT outbox.publish('bound', '1', key => 'a'), outbox.publish('unbound', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    tap.distinct(1).await;
    eventually("everything that is measured has happened", async || {
        let text = relay.metrics();
        relay.metric("postroom_relay_parked_total") >= 1.0
            && relay::METRICS
                .iter()
                .all(|(name, _)| text.contains(&format!("# TYPE {name} ")))
    })
    .await;
    golden::check("metrics/relay.txt", &exposed(&relay));
}
