//! `relay check` reports who else may put code where sessions find it.

use postroom_testkit::{Login, Stack};
use sqlx::{AssertSqlSafe, Executor as _};

/// Returns the warnings of `relay check`, which succeeds.
async fn warnings(stack: &Stack) -> Vec<String> {
    let findings = stack.command(&["check", "--json"]).await.json();
    let warnings = findings
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["warning"] == true);
    warnings
        .map(|finding| finding["detail"].as_str().unwrap().to_owned())
        .collect()
}

/// A grant to `mallory`, a role of the test, or to the public; the warning about it; the statement that ends it.
const RIGHTS: [(&str, &str, &str); 7] = [
    (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "PUBLIC may create objects in schema public",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ),
    (
        "GRANT CREATE ON SCHEMA public TO {m}",
        "{m} may create objects in schema public",
        "REVOKE CREATE ON SCHEMA public FROM {m}",
    ),
    (
        "GRANT ALL ON SCHEMA outbox TO {m}",
        "{m} may create objects in schema outbox",
        "REVOKE CREATE ON SCHEMA outbox FROM {m}",
    ),
    (
        "GRANT ALL ON SCHEMA inbox TO PUBLIC",
        "PUBLIC may create objects in schema inbox",
        "REVOKE CREATE ON SCHEMA inbox FROM PUBLIC",
    ),
    (
        "CREATE SCHEMA postroom_test_consumer AUTHORIZATION postroom_test_consumer;
         GRANT CREATE ON SCHEMA postroom_test_consumer TO {m}",
        "{m} may create objects in schema postroom_test_consumer",
        "REVOKE CREATE ON SCHEMA postroom_test_consumer FROM {m}",
    ),
    (
        "CREATE SCHEMA theirs AUTHORIZATION {m}; ALTER DATABASE {d} SET search_path = theirs, public",
        "{m} may create objects in schema theirs",
        "take schema theirs, which is {m}'s, off the search_path of others",
    ),
    (
        "GRANT ALL ON ALL TABLES IN SCHEMA outbox TO {m}",
        "{m} may make triggers in schema outbox",
        "REVOKE TRIGGER ON ALL TABLES IN SCHEMA outbox FROM {m}",
    ),
];

#[tokio::test]
async fn each_right_to_put_code_where_sessions_find_it_is_reported_with_its_remedy() {
    let stack = Stack::new().await;
    let mut admin = stack.database.connect(Login::Admin).await;
    assert_eq!(warnings(&stack).await, [""; 0]);
    let fill = |text: &str| {
        text.replace("{m}", "postroom_test_producer")
            .replace("{d}", &stack.database.name)
    };
    // A schema of its own, on its own path, is no danger to others.
    let own = fill(
        "CREATE SCHEMA mine AUTHORIZATION {m}; ALTER ROLE {m} IN DATABASE {d} SET search_path = mine, public",
    );
    admin.execute(AssertSqlSafe(own)).await.unwrap();
    assert_eq!(warnings(&stack).await, [""; 0]);
    for (grant, what, cure) in
        RIGHTS.map(|(grant, what, cure)| (fill(grant), fill(what), fill(cure)))
    {
        admin.execute(AssertSqlSafe(grant)).await.unwrap();
        let told = warnings(&stack).await;
        let [detail] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(detail.contains(&what) && detail.contains(&cure), "{detail}");
        let cured = if cure.starts_with("REVOKE") {
            cure
        } else {
            fill("ALTER DATABASE {d} RESET search_path")
        };
        admin.execute(AssertSqlSafe(cured)).await.unwrap();
        assert_eq!(warnings(&stack).await, [""; 0]);
    }
}

#[tokio::test]
async fn code_of_others_that_runs_already_is_told() {
    let stack = Stack::new().await;
    let mut admin = stack.database.connect(Login::Admin).await;
    let owners =
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                  ALTER FUNCTION noted() OWNER TO postroom_test_owner;
                  CREATE TRIGGER noted AFTER INSERT ON outbox.checkpoint EXECUTE FUNCTION noted()";
    admin.execute(owners).await.unwrap();
    assert_eq!(warnings(&stack).await, [""; 0]);
    let others = "CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                  CREATE FUNCTION equal(outbox.lane, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true';
                  CREATE OPERATOR public.= (LEFTARG = outbox.lane, RIGHTARG = integer, FUNCTION = equal);
                  ALTER FUNCTION steal() OWNER TO postroom_test_producer;
                  ALTER OPERATOR public.= (outbox.lane, integer) OWNER TO postroom_test_producer;
                  CREATE TRIGGER steal AFTER INSERT ON outbox.parked EXECUTE FUNCTION steal();
                  ALTER TABLE outbox.message ADD CONSTRAINT lane CHECK (lane = 0)";
    admin.execute(others).await.unwrap();
    let told = warnings(&stack).await;
    let [detail] = &told[..] else {
        panic!("{told:?}")
    };
    for part in [
        "trigger steal on outbox.parked runs function public.steal(), which is postroom_test_producer's",
        "table constraint lane on outbox.message runs operator public.=(outbox.lane,integer)",
        "drop trigger steal on outbox.parked",
    ] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let table = stack.command(&["check"]).await;
    let warned = table
        .succeeded()
        .lines()
        .filter(|line| line.starts_with("WARN "));
    assert_eq!(warned.count(), 1, "{}", table.stdout);
}
