//! `relay check`.

use std::time::{Duration, Instant};

use postroom_testkit::{
    Database, Login, Proxy, Stack, Tap, User, Wire, command, declare, eventually,
};
use serde_json::Value;

use crate::{assert_no_password, assert_says};

/// The findings of `relay check --json`, which must succeed if and only if all are good.
async fn findings(stack: &Stack, changes: &[(&str, &str)]) -> Vec<Value> {
    let mut environment = stack.environment();
    environment.extend(
        changes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    let ended = command::relay(&["check", "--json"], &environment).await;
    assert_no_password(&ended, &environment);
    let findings: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let good = findings.iter().all(|finding| finding["ok"] == true);
    assert_eq!(ended.code, Some(i32::from(!good)), "{ended:?}");
    findings
}

/// The findings that are not good: what, and the detail.
fn failed(findings: &[Value]) -> Vec<(&str, &str)> {
    let failed = findings.iter().filter(|finding| finding["ok"] == false);
    failed
        .map(|f| (f["what"].as_str().unwrap(), f["detail"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn everything_is_found_where_everything_is_there() {
    let stack = Stack::new().await;
    let findings = findings(&stack, &[]).await;
    assert_eq!(failed(&findings), []);
    let looked_at: Vec<&str> = findings
        .iter()
        .map(|f| f["what"].as_str().unwrap())
        .collect();
    let all = [
        "database url",
        "database",
        "schema",
        "privileges",
        "writing",
        "checkpoint",
        "sequence",
        "broker url",
        "broker",
        "fence",
        "exchange",
        "publishing",
    ];
    assert_eq!(looked_at, all);
    let table = stack.command(&["check"]).await;
    assert_eq!(table.succeeded().lines().count(), all.len());
    assert!(
        table.stdout.lines().all(|line| line.starts_with("ok ")),
        "{}",
        table.stdout
    );
}

#[tokio::test]
async fn both_servers_are_looked_at_although_one_is_down() {
    let stack = Stack::new().await;
    let (database, broker) = (stack.database.url(Login::Relay), stack.broker.url());
    let to_database = Proxy::new(&database, Wire::Refuse).await;
    let to_broker = Proxy::new(&broker, Wire::Refuse).await;
    let (database, broker) = (to_database.url(&database), to_broker.url(&broker));
    let all = findings(
        &stack,
        &[
            ("POSTROOM_DATABASE_URL", &database),
            ("POSTROOM_AMQP_URL", &broker),
        ],
    )
    .await;
    let [("database", first), ("broker", second)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(first, &["connecting to postgres://", "refused"]);
    assert_says(second, &["connecting to amqp://", "refused"]);
}

#[tokio::test]
async fn missing_privileges_are_listed_with_the_role_to_grant() {
    let stack = Stack::new().await;
    let url = stack.database.url(Login::Producer);
    let all = findings(&stack, &[("POSTROOM_DATABASE_URL", &url)]).await;
    let ("privileges", detail) = failed(&all)[0] else {
        panic!("{all:?}");
    };
    assert_says(
        detail,
        &[
            "SELECT on outbox.message;",
            "outbox.checkpoint",
            "TRUNCATE",
            "GRANT outbox_relay",
        ],
    );
}

#[tokio::test]
async fn a_missing_schema_is_reported_and_the_broker_still_looked_at() {
    let stack = Stack {
        database: Database::empty().await,
        broker: postroom_testkit::VirtualHost::new(),
    };
    let all = findings(&stack, &[]).await;
    let [("schema", detail)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(detail, &["no Postroom schema", "`relay migrate`"]);
}

#[tokio::test]
async fn an_exchange_that_may_not_be_declared_must_be_there() {
    let stack = Stack::new().await;
    let passive = [("POSTROOM_AMQP_DECLARE_EXCHANGE", "false")];
    let all = findings(&stack, &passive).await;
    let [("exchange", detail)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(
        detail,
        &["exchange \"postroom\" cannot be used", "create it"],
    );
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "q", "#", lapin::types::FieldTable::default()).await;
    assert_eq!(failed(&findings(&stack, &passive).await), []);
}

#[tokio::test]
async fn check_goes_on_beside_an_active_relay() {
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    assert_eq!(failed(&findings(&stack, &[]).await), []);
    relay.ready().await;
}

#[tokio::test]
async fn a_leaf_that_may_not_be_read_is_named() {
    let stack = Stack::new().await;
    let revoke = "REVOKE TRUNCATE ON outbox.message_07 FROM outbox_relay";
    stack.database.ddl(revoke).await;
    let all = findings(&stack, &[]).await;
    let [("privileges", detail)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(detail, &["missing: SELECT, TRUNCATE on outbox.message_07;"]);
}

#[tokio::test]
async fn missing_rights_of_the_brokers_user_are_found_and_nothing_is_published() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let user = User::new(&stack.broker);
    let url = user.url();
    let changes = [("POSTROOM_AMQP_URL", url.as_str())];
    user.grant("^postroom$", "^postroom$", "");
    let all = findings(&stack, &changes).await;
    let [("fence", detail)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(detail, &["postroom.fence.", "ACCESS_REFUSED", "configure"]);
    user.grant("^postroom\\.fence\\..*|^postroom$", "", "");
    // Each attempt to publish costs a connection: they come more and more seldom.
    let began = Instant::now();
    let relay = stack.start_relay(&changes);
    sqlx::query("SELECT outbox.publish('t', '0')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    relay.role("active").await;
    eventually("the relay was refused seven times", async || {
        relay.metric("postroom_relay_broker_losses_total") >= 7.0
    })
    .await;
    assert!(began.elapsed() > Duration::from_secs(2), "it never let up");
    assert_says(&relay.logged(), &["configure and write on it"]);
    relay.kill().await;
    let all = findings(&stack, &changes).await;
    let [("publishing", detail)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(
        detail,
        &["exchange \"postroom\"", "configure and write on it"],
    );
    user.grant("^postroom\\.fence\\..*|^postroom$", "^postroom$", "");
    assert_eq!(failed(&findings(&stack, &changes).await), []);
    // A relay needs no more than was granted.
    let relay = stack.relay_with(&changes).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut stack.database.connect(Login::Producer).await)
        .await
        .unwrap();
    tap.distinct(2).await;
    assert_eq!(tap.ids().len(), 2, "a check published something");
    relay.ready().await;
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_is_found() {
    let stack = Stack::new().await;
    stack
        .database
        .ddl(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''no room''; END';
             CREATE TRIGGER refuse BEFORE INSERT ON outbox.checkpoint
             FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let all = findings(&stack, &[]).await;
    let [("writing", detail)] = failed(&all)[..] else {
        panic!("{all:?}");
    };
    assert_says(detail, &["no room"]);
}
