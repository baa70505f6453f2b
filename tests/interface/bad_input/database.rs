//! A database that refuses.

use postroom_testkit::{Database, Login, Stack, Tap, VirtualHost, command, eventually};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{assert_says, refused};

/// The URL with its password replaced.
fn with_password(url: &str, password: &str) -> String {
    let mut url: url::Url = url.parse().unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_showing_it() {
    let stack = Stack::new().await;
    let url = with_password(&stack.database.url(Login::Relay), "hunter2");
    let error = refused(&stack, &[("POSTROOM_DATABASE_URL", &url)]).await;
    assert_says(
        &error,
        &[
            "postgres://postroom_test_relay:***@",
            "password authentication failed",
            "check user, password and database",
        ],
    );
}

#[tokio::test]
async fn an_unknown_database_is_named() {
    let stack = Stack::new().await;
    let mut url: url::Url = stack.database.url(Login::Relay).parse().unwrap();
    url.set_path("nowhere");
    let error = refused(&stack, &[("POSTROOM_DATABASE_URL", url.as_str())]).await;
    assert_says(
        &error,
        &[
            "database \"nowhere\" does not exist",
            "check user, password and database",
        ],
    );
}

#[tokio::test]
async fn a_database_without_the_schema_asks_for_the_migrations() {
    let stack = Stack {
        database: Database::empty().await,
        broker: VirtualHost::new(),
    };
    let error = refused(&stack, &[]).await;
    assert_says(
        &error,
        &[
            "no Postroom schema",
            "`relay migrate`",
            "migrations/roles.sql",
        ],
    );
}

#[tokio::test]
async fn a_schema_that_is_too_new_is_refused() {
    let stack = Stack::new().await;
    sqlx::query("INSERT INTO outbox.migration VALUES (999, 'from_the_future')")
        .execute(&mut stack.database.connect(Login::Owner).await)
        .await
        .unwrap();
    let error = refused(&stack, &[]).await;
    assert_says(&error, &["at version 999", "use a newer release"]);
}

#[tokio::test]
async fn a_login_without_the_role_is_told_what_to_grant() {
    let stack = Stack::new().await;
    let url = stack.database.url(Login::Producer);
    let error = refused(&stack, &[("POSTROOM_DATABASE_URL", &url)]).await;
    assert_says(
        &error,
        &[
            "permission denied for table checkpoint",
            "outbox_relay",
            "`relay check`",
        ],
    );
}

#[tokio::test]
async fn a_database_whose_texts_may_be_anything_is_refused() {
    for encoding in ["SQL_ASCII", "LATIN1", "WIN1252"] {
        let options = format!("ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        // Not migrated: the migrations refuse it too.
        let database = Database::empty_with(&options).await;
        let stack = Stack {
            database,
            broker: VirtualHost::new(),
        };
        let says = [
            format!("the server encoding {encoding}"),
            "Postroom needs a UTF8 database".to_owned(),
        ];
        let error = refused(&stack, &[]).await;
        assert_says(&error, &says.each_ref().map(String::as_str));
        let check = stack.command(&["check"]).await;
        assert_eq!(check.code, Some(1), "{check:?}");
        assert_says(&check.stdout, &says.each_ref().map(String::as_str));
    }
}

/// Nothing is published either: what cannot be recorded would be published again by each session.
#[tokio::test]
async fn a_database_that_takes_no_writes_is_told_of_and_waited_for() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut producer = stack.database.connect(Login::Producer).await;
    producer
        .execute("SELECT outbox.publish('t', '1')")
        .await
        .unwrap();
    let mut owner = stack.database.connect(Login::Owner).await;
    let database = &stack.database.name;
    let alter = |how| format!("ALTER DATABASE {database} {how} default_transaction_read_only");
    owner
        .execute(AssertSqlSafe(format!("{} = on", alter("SET"))))
        .await
        .unwrap();
    let says = [
        "takes no writes from this user",
        "ALTER DATABASE … SET default_transaction_read_only = off",
    ];
    let check = stack.command(&["check"]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert_says(&check.stdout, &says);
    let relay = stack.start_relay(&[]);
    eventually("it says so", async || relay.logged().contains(says[0])).await;
    assert_says(&relay.logged(), &says);
    assert_eq!(tap.ids().len(), 0);
    owner.execute(AssertSqlSafe(alter("RESET"))).await.unwrap();
    relay.ready().await;
    tap.distinct(1).await;
    stack.delivered().await;
    assert_eq!(tap.seen().len(), 1);
}

/// As on a server where every table is hardened. A row that a policy hides cannot be distinguished from a row that does
/// not exist, and a row that is passed over is lost in the end.
#[tokio::test]
async fn g3_rows_that_a_policy_hides_are_not_passed_over() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let policies = |how: &str| {
        format!(
            "DO $$ DECLARE t regclass; BEGIN
                 FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'outbox'::regnamespace
                                                     AND relname ~ '^message(_[0-9]+)?$' AND relkind IN ('r', 'p')
                 LOOP EXECUTE format('ALTER TABLE %s {how} ROW LEVEL SECURITY', t); END LOOP;
             END $$"
        )
    };
    let mut relay = stack.relay().await;
    stack.database.ddl(&policies("ENABLE")).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let publish = "SELECT outbox.publish('t', '1')";
    producer.execute(publish).await.unwrap();
    assert!(!relay.exited().await.success());
    let says = ["row-level security", "DISABLE ROW LEVEL SECURITY"];
    assert_says(&relay.logged(), &says);
    assert_says(&stack.command(&["check"]).await.stdout, &says);
    stack.database.ddl(&policies("DISABLE")).await;
    let _relay = stack.relay().await;
    tap.distinct(1).await;
}

/// rustls panicked, which knew of two providers and was told of none.
#[tokio::test]
async fn a_certificate_may_be_checked_without_its_hosts_name() {
    let stack = Stack::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 8];
            client.read_exact(&mut request).await.unwrap();
            // The server agrees to TLS, and closes the connection.
            client.write_all(b"S").await.unwrap();
        }
    });
    let url = format!("postgres://relay@127.0.0.1:{port}/orders?sslmode=verify-ca");
    let mut environment = stack.environment();
    environment.push(("POSTROOM_DATABASE_URL".to_owned(), url));
    let ended = command::relay(&["status"], &environment).await;
    assert_says(ended.error(), &["connecting to postgres://relay@"]);
}
