//! The relay's sessions have a `search_path` of their own; a session with another path is refused.

use postroom_testkit::{Login, PgBouncer, Stack, command, eventually};
use sqlx::{AssertSqlSafe, Executor as _};

/// A pooler may drop the settings that a session asks for. Here the role has the other settings, so only the path
/// differs.
#[tokio::test]
async fn a_session_with_another_search_path_is_refused() {
    let stack = Stack::new().await;
    let mut admin = stack.database.connect(Login::Admin).await;
    for (setting, value) in [
        ("plan_cache_mode", "force_custom_plan"),
        ("client_min_messages", "warning"),
    ] {
        let sql = format!(
            "ALTER ROLE postroom_test_relay IN DATABASE {} SET {setting} = {value}",
            stack.database.name
        );
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let direct = stack.database.url(Login::Relay);
    let pooler = PgBouncer::start(&direct, "extra_float_digits, options");
    let mut environment = stack.environment();
    environment.push(("POSTROOM_DATABASE_URL".to_owned(), pooler.url(&direct)));
    let refused = command::relay(&["status"], &environment).await;
    let error = refused.error();
    let says = r#"asked for the search_path "pg_catalog, pg_temp" and has "\"$user\", public""#;
    assert!(error.contains(says), "{error}");
}

/// Neither the settings of roles and databases nor those in the URL win.
#[tokio::test]
async fn no_setting_of_a_role_a_database_or_a_url_changes_the_relays_search_path() {
    let stack = Stack::new().await;
    let mut admin = stack.database.connect(Login::Admin).await;
    let name = &stack.database.name;
    // Found by each statement of the relay that does not qualify the function's name.
    let sql = format!(
        "CREATE FUNCTION public.pg_backend_pid(OUT pid integer) LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''met''; END';
         ALTER DATABASE {name} SET search_path = public, pg_catalog;
         ALTER ROLE postroom_test_relay IN DATABASE {name} SET search_path = public, pg_catalog"
    );
    admin.execute(AssertSqlSafe(sql)).await.unwrap();
    let url = stack.database.url(Login::Relay);
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}options=-c%20search_path%3Dpublic,pg_catalog");
    let relay = stack.relay_with(&[("POSTROOM_DATABASE_URL", &url)]).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute("SELECT outbox.publish('t', '1')")
        .await
        .unwrap();
    eventually("what no queue takes is parked", async || {
        relay.metric("postroom_relay_parked_total") >= 1.0
    })
    .await;
    assert!(!relay.logged().contains("met"), "{}", relay.logged());
}
