//! Takeovers of Postroom's statements that once succeeded, each by a producer who may create objects in `public`.

use postroom_testkit::{Login, Stack, Tap, command};
use sqlx::{AssertSqlSafe, Executor as _};

/// Lets everybody create objects in `public`, as before PostgreSQL 15, and lets a producer run `made`.
async fn stack_with(made: &str) -> Stack {
    let stack = Stack::new().await;
    let mut admin = stack.database.connect(Login::Admin).await;
    let grant = "GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE TABLE stolen (by text);
                 GRANT ALL ON stolen TO PUBLIC";
    admin.execute(grant).await.unwrap();
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute(AssertSqlSafe(made.to_owned()))
        .await
        .unwrap();
    stack
}

async fn assert_nothing_stolen(stack: &Stack) {
    let mut admin = stack.database.connect(Login::Admin).await;
    let by: Vec<String> = sqlx::query_scalar("SELECT by FROM stolen")
        .fetch_all(&mut admin)
        .await
        .unwrap();
    assert_eq!(by, [""; 0]);
}

async fn three_messages_arrive(stack: &Stack) {
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    for n in 1..=3 {
        let publish = format!("SELECT outbox.publish('t', '{n}')");
        producer.execute(AssertSqlSafe(publish)).await.unwrap();
    }
    tap.distinct(3).await;
    relay.stop().await;
    let status = stack.command(&["status", "--json"]).await.json();
    assert_eq!(status["waiting"], 0, "{status}");
    assert_nothing_stolen(stack).await;
}

#[tokio::test]
async fn g3_an_operator_that_fits_a_lane_better_hides_no_message() {
    let stack = stack_with(
        "CREATE FUNCTION public.equal(outbox.lane, smallint) RETURNS boolean LANGUAGE plpgsql AS
         'BEGIN INSERT INTO public.stolen VALUES (session_user); RETURN false; END';
         CREATE OPERATOR public.= (LEFTARG = outbox.lane, RIGHTARG = smallint, FUNCTION = public.equal)",
    )
    .await;
    three_messages_arrive(&stack).await;
}

#[tokio::test]
async fn g3_an_overload_that_takes_the_sequences_name_as_text_hides_no_message() {
    let stack = stack_with(
        "CREATE FUNCTION public.pg_sequence_last_value(text) RETURNS bigint LANGUAGE plpgsql AS
         'BEGIN INSERT INTO public.stolen VALUES (session_user); RETURN 1; END'",
    )
    .await;
    three_messages_arrive(&stack).await;
}

#[tokio::test]
async fn commands_run_by_a_superuser_run_nothing_that_others_made() {
    let stack = stack_with(
        "CREATE FUNCTION public.steal() RETURNS void LANGUAGE plpgsql AS
         'BEGIN INSERT INTO public.stolen VALUES (session_user); END';
         CREATE FUNCTION public.pg_sequence_last_value(text) RETURNS bigint LANGUAGE sql AS
         'SELECT public.steal(); SELECT 1::bigint';
         CREATE FUNCTION public.has_table_privilege(text, text) RETURNS boolean LANGUAGE sql AS
         'SELECT public.steal(); SELECT true';
         CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql AS
         'SELECT public.steal(); SELECT pg_catalog.format($1, variadic array[$2])';
         CREATE FUNCTION public.format(text, integer) RETURNS text LANGUAGE sql AS
         'SELECT public.steal(); SELECT pg_catalog.format($1, variadic array[$2])';
         CREATE FUNCTION public.format(text, text, integer) RETURNS text LANGUAGE sql AS
         'SELECT public.steal(); SELECT pg_catalog.format($1, variadic array[$2, $3::text])'",
    )
    .await;
    let mut environment = stack.environment();
    let url = stack.database.url(Login::Admin);
    environment.push(("POSTROOM_DATABASE_URL".to_owned(), url));
    for arguments in [
        &["check"][..],
        &["status"],
        &["parked", "list"],
        &["rebase"],
        &["migrate", "--roles"],
    ] {
        let ended = command::relay(arguments, &environment).await;
        ended.succeeded();
        assert_nothing_stolen(&stack).await;
    }
    stack.database.apply("roles.sql");
    assert_nothing_stolen(&stack).await;
}
