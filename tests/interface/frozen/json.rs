//! JSON for machines: commands with `--json`, `relay parked show` and `/health/ready`.

use lapin::types::{AMQPValue, FieldTable};
use postroom_testkit::{Login, RelayProcess, Stack, command, declare, eventually};
use serde_json::Value;

use crate::shape::Shape;

/// Messages that a relay parks, one for each reason, and one that a queue takes.
const MESSAGES: &str = "
SELECT outbox.publish('unbound', '{\"a\": 1}', key => 'k', headers => '{\"text\": \"a\", \"whole\": 1}'),
       outbox.publish_bytes('unbound', '\\x00ff', 'image/png'),
       outbox.publish('full', '1'), outbox.publish('full', '2'),
       outbox.publish('later', '1', deliver_after => now() + interval '1 day',
                      expires_at => now() + interval '2 days'),
       outbox.publish('bad', '1', key => 'held', headers => jsonb_build_object(repeat('n', 300), 1)),
       outbox.publish('good', '1', key => 'held')";

const REASONS: [&str; 5] = ["behind", "nacked", "rejected", "scheduled", "unroutable"];

#[tokio::test]
async fn json_has_the_keys_and_types_as_before() {
    let stack = Stack::new().await;
    let mut shapes = Shapes::new();
    shapes.look(&stack).await;
    publish(&stack).await;
    shapes.look(&stack).await;
    let (_connection, channel) = stack.broker.channel().await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), 1.into());
    let refuses = AMQPValue::LongString("reject-publish".into());
    full.insert("x-overflow".into(), refuses);
    declare(&channel, "full", "full", full).await;

    // A relay that cannot reach its database.
    let away = ("POSTROOM_DATABASE_URL", "postgres://relay@127.0.0.1:1/none");
    let starting = stack.start_relay(&[away]);
    eventually("its health names the problem", async || {
        starting
            .health()
            .is_some_and(|(_, health)| health["problem"].is_string())
    })
    .await;
    shapes.health(&starting).await;
    let active = stack.relay().await;
    let standby = stack.start_relay(&[]);
    standby.role("standby").await;
    eventually("a message is parked for each reason", async || {
        let parked = stack.command(&["parked", "list", "--json"]).await.json();
        let parked = parked.as_array().unwrap().clone();
        REASONS
            .iter()
            .all(|reason| parked.iter().any(|row| row["reason"] == *reason))
    })
    .await;
    shapes.look(&stack).await;
    shapes.look_as_owner(&stack).await;
    shapes.health(&active).await;
    shapes.health(&standby).await;
    drop(standby);
    assert!(active.stop().await.success());
    let restored = "UPDATE outbox.checkpoint SET system_identifier = system_identifier + 1";
    stack.database.ddl(restored).await;
    shapes.look(&stack).await;
    shapes.compare();
}

async fn publish(stack: &Stack) {
    stack.database.allow_any_header().await;
    sqlx::query(MESSAGES)
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .expect("publishing");
}

/// Shapes of all documents.
struct Shapes {
    status: Shape,
    list: Shape,
    show: Shape,
    check: Shape,
    health: Shape,
}

impl Shapes {
    fn new() -> Self {
        Self {
            status: Shape::new(&["$.parked[].reason", "$.problem"]),
            list: Shape::new(&["$[].reason"]),
            show: Shape::new(&["$.reason", "$.holds"]),
            check: Shape::new(&["$[].what"]),
            health: Shape::new(&["$.role", "$.broker"]),
        }
    }

    /// Adds what the commands print now.
    async fn look(&mut self, stack: &Stack) {
        self.status
            .add(&stack.command(&["status", "--json"]).await.json());
        let list = stack.command(&["parked", "list", "--json"]).await.json();
        self.list.add(&list);
        for row in list.as_array().unwrap() {
            // The name of the header for which it was rejected is no key of ours.
            if row["reason"] != "rejected" {
                let position = row["position"].to_string();
                self.show
                    .add(&stack.command(&["parked", "show", &position]).await.json());
            }
        }
        let check = command::relay(&["check", "--json"], &stack.environment()).await;
        let check: Value = serde_json::from_str(&check.stdout).expect("JSON");
        self.check.add(&check);
    }

    /// Adds the status that another user is told.
    async fn look_as_owner(&mut self, stack: &Stack) {
        let owner = [("POSTROOM_DATABASE_URL", stack.database.url(Login::Owner))];
        let owner = owner.map(|(name, value)| (name.to_owned(), value));
        let status = command::relay(&["status", "--json"], &owner).await;
        self.status.add(&status.json());
    }

    /// Adds the health of a relay once no connection to the broker is being made.
    async fn health(&mut self, relay: &RelayProcess) {
        let mut health = Value::Null;
        eventually("the broker connection has settled", async || {
            health = relay.health().expect("the relay's health").1;
            ["", "ready"].map(Value::from).contains(&health["broker"])
        })
        .await;
        self.health.add(&health);
    }

    fn compare(&self) {
        golden::check_all(&[
            ("json/status.txt", self.status.text()),
            ("json/parked-list.txt", self.list.text()),
            ("json/parked-show.txt", self.show.text()),
            ("json/check.txt", self.check.text()),
            ("json/health.txt", self.health.text()),
        ]);
    }
}
