//! Parked messages are retried when they are due, under each load.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use lapin::types::{AMQPValue, FieldTable};
use postroom_testkit::{Login, Pin, Stack, Tap, declare, eventually};
use sqlx::{AssertSqlSafe, Executor as _};

async fn execute(stack: &Stack, sql: &str) {
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .unwrap();
}

async fn parked(stack: &Stack, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM outbox.parked WHERE {condition}");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut stack.database.connect(Login::Owner).await)
        .await
        .unwrap()
}

/// As long as rows wait in the outbox they fill every gap of the window.
#[tokio::test]
async fn a_backlog_holds_back_neither_what_is_scheduled_nor_what_is_tried_again() {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    // A queue that no consumer reads and that keeps ten messages.
    let mut short = FieldTable::default();
    short.insert("x-max-length".into(), 10.into());
    declare(&channel, "backlog", "backlog", short).await;
    let tap = Tap::open(&stack.broker, "scheduled", "scheduled").await;
    let relay = stack.relay().await;
    execute(
        &stack,
        "SELECT outbox.publish('late', '1', key => 'k'), outbox.publish('late', '2', key => 'k')",
    )
    .await;
    eventually("what no queue takes is parked", async || {
        parked(&stack, "topic = 'late'").await == 2
    })
    .await;
    let backlog = "INSERT INTO outbox.message (message_id, topic, type, payload)
                   SELECT gen_random_uuid(), 'backlog', 'backlog', '' FROM generate_series(1, 50000)";
    execute(&stack, backlog).await;
    execute(
        &stack,
        "SELECT outbox.publish('scheduled', '1', deliver_after => clock_timestamp() + interval '1 s')
         FROM generate_series(1, 10)",
    )
    .await;
    execute(&stack, backlog).await;
    let late = Tap::open(&stack.broker, "late", "late").await;
    let sent = || relay.metric("postroom_relay_delivered_total");
    // As much again and again as is sent meanwhile: the backlog never ends.
    let mut written = 100_000.0;
    eventually("both arrive beside the backlog", async || {
        if written - sent() < 60_000.0 {
            execute(&stack, backlog).await;
            written += 50_000.0;
        }
        tap.ids().len() == 10 && late.ids().len() == 2
    })
    .await;
    assert!(written - sent() > 10_000.0, "there was no backlog");
    let bodies: Vec<_> = late.first_by_key()["k"].iter().map(|s| s.body[0]).collect();
    assert_eq!(bodies, *b"12");
}

/// If the first row of a key fails, the key's other rows would stay due for ever, and hide the rows of other keys.
#[tokio::test]
async fn a_long_key_that_is_tried_again_by_hand_hides_nobody() {
    const FOLLOWERS: i64 = 1_500;
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    execute(
        &stack,
        &format!(
            "SELECT outbox.publish('unbound', to_jsonb(i), key => 'long')
             FROM generate_series(0, {FOLLOWERS}) AS i"
        ),
    )
    .await;
    eventually("all are parked", async || {
        parked(&stack, "reason = 'behind'").await == FOLLOWERS
    })
    .await;
    let retried = stack
        .command(&["parked", "retry", "--reason", "behind"])
        .await;
    let said = format!("{FOLLOWERS} to be tried again at once\n");
    assert_eq!(retried.succeeded(), said);
    // An operator's own statement may do what the command does not.
    let mut owner = stack.database.connect(Login::Owner).await;
    owner
        .execute("UPDATE outbox.parked SET due_at = clock_timestamp() WHERE reason = 'behind'")
        .await
        .unwrap();
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    execute(
        &stack,
        "SELECT outbox.publish('bound', '1', deliver_after => clock_timestamp() + interval '100 ms')
         FROM generate_series(1, 5)",
    )
    .await;
    tap.distinct(5).await;
    assert_eq!(parked(&stack, "key = 'long'").await, FOLLOWERS + 1);
}

/// Behind a refused message, a message of the same key and another topic is not tried, however long it has been due.
#[tokio::test]
async fn keys_whose_first_message_is_refused_hide_nobody() {
    const KEYS: i64 = 600;
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    execute(
        &stack,
        &format!(
            "SELECT outbox.publish('full', '1', key => 'k' || i), outbox.publish('late', '2', key => 'k' || i)
             FROM generate_series(1, {KEYS}) AS i"
        ),
    )
    .await;
    eventually("no queue takes them", async || {
        parked(&stack, "reason = 'unroutable'").await == 2 * KEYS
    })
    .await;
    let (_connection, channel) = stack.broker.channel().await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), 1.into());
    let refuses = AMQPValue::LongString("reject-publish".into());
    full.insert("x-overflow".into(), refuses);
    declare(&channel, "full", "full", full).await;
    eventually("one queue refuses them", async || {
        parked(&stack, "reason = 'nacked'").await > KEYS - 10
    })
    .await;
    let hidden = "topic = 'late' AND due_at < clock_timestamp()";
    eventually("those behind are due", async || {
        parked(&stack, hidden).await > KEYS - 10
    })
    .await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    execute(
        &stack,
        "SELECT outbox.publish('bound', '1', deliver_after => clock_timestamp() + interval '100 ms')
         FROM generate_series(1, 5)",
    )
    .await;
    tap.distinct(5).await;
    assert!(
        parked(&stack, hidden).await > KEYS - 10,
        "they were not due"
    );
}

/// A message's time may come while the statement that parks it waits.
#[tokio::test]
async fn a_message_parked_after_its_time_is_due_from_then_on() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let mut owner = stack.database.connect(Login::Owner).await;
    // A parked row is deleted as soon as its message is delivered.
    owner
        .execute(
            "CREATE TABLE noted (due_at timestamptz, deliver_after timestamptz);
             GRANT INSERT ON noted TO PUBLIC;
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.noted VALUES (NEW.due_at, NEW.deliver_after); RETURN NEW; END $$;
             CREATE TRIGGER note BEFORE INSERT ON outbox.parked
             FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await
        .unwrap();
    let mut pin = Pin::table(&stack.database, "outbox.parked").await;
    execute(
        &stack,
        "SELECT outbox.publish('t', '1', deliver_after => clock_timestamp() + interval '500 ms')",
    )
    .await;
    pin.reached().await;
    eventually("its time is a second ago", async || {
        let sql = "SELECT deliver_after < clock_timestamp() - interval '1 s' FROM outbox.message";
        sqlx::query_scalar(sql).fetch_one(&mut owner).await.unwrap()
    })
    .await;
    pin.release().await;
    tap.distinct(1).await;
    let late = "SELECT due_at > deliver_after + interval '1 s' FROM noted";
    let mut is_late = None;
    eventually("its parking is committed", async || {
        let noted = sqlx::query_scalar(late).fetch_optional(&mut owner).await;
        is_late = noted.unwrap();
        is_late.is_some()
    })
    .await;
    assert_eq!(is_late, Some(true), "it was due before it was parked");
}

/// A bulk change by hand may set a time that is long past when it commits.
#[tokio::test]
async fn a_message_made_due_long_ago_is_tried_before_long() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    execute(
        &stack,
        "SELECT outbox.publish('t', '1', deliver_after => clock_timestamp() + interval '1 h')",
    )
    .await;
    eventually("it is parked", async || {
        parked(&stack, "reason = 'scheduled'").await == 1
    })
    .await;
    // The due ones have been polled.
    execute(
        &stack,
        "SELECT outbox.publish('t', '2', deliver_after => clock_timestamp() + interval '100 ms')",
    )
    .await;
    tap.distinct(1).await;
    let mut owner = stack.database.connect(Login::Owner).await;
    owner
        .execute("UPDATE outbox.parked SET due_at = clock_timestamp() - interval '1 h'")
        .await
        .unwrap();
    tap.distinct(2).await;
}
