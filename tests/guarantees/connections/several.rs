//! URLs that name several servers.

use std::time::Duration;

use outbox::{database::DatabaseAddress, pool};
use postroom_testkit::{
    Database, Login, PgServer, Stack, Tap, VirtualHost, eventually, private::free_port,
};
use sqlx::{Executor as _, PgPool};

use crate::assert_says;

/// Names a second server in a URL, behind the first.
fn and(url: &str, port: u16, rest: &str) -> String {
    let (login, rest_of_url) = url.split_once("@127.0.0.1:").unwrap();
    let (first, database) = rest_of_url.split_once('/').unwrap();
    format!("{login}@127.0.0.1:{first},127.0.0.1:{port}/{database}{rest}")
}

async fn publish(pool: &PgPool) -> Result<(), sqlx::Error> {
    pool.execute("SELECT outbox.publish('t', '1')")
        .await
        .map(drop)
}

/// The relay is not restarted, and its configuration is not changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_is_followed_to_the_promoted_standby() {
    let mut primary = PgServer::start();
    let standby = primary.standby();
    let stack = Stack::on(&primary, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let both = |login, query: &str| and(&stack.database.url(login), standby.port, query);
    let url = both(Login::Relay, "?target_session_attrs=read-write");
    let changed = [
        ("POSTROOM_DATABASE_URL", url.as_str()),
        ("POSTROOM_LEASE_TIMEOUT", "2s"),
    ];
    let relay = stack.relay_with(&changed).await;
    let address: DatabaseAddress = both(Login::Producer, "").parse().unwrap();
    let options = pool::options().acquire_timeout(Duration::from_secs(2));
    let pool = pool::connect(options, &address).await.unwrap();
    tokio::spawn(pool::follow(pool.clone(), address));
    publish(&pool).await.unwrap();
    tap.distinct(1).await;
    primary.kill();
    standby.promote();
    eventually("the pool has followed", async || {
        publish(&pool).await.is_ok()
    })
    .await;
    tap.distinct(2).await;
    relay.ready().await;
    for arguments in [["status"].as_slice(), &["check"], &["parked", "list"]] {
        stack.command_with(arguments, &changed).await.succeeded();
    }
    let owner = both(Login::Owner, "");
    let changed = [("POSTROOM_DATABASE_URL", owner.as_str())];
    stack.command_with(&["migrate"], &changed).await.succeeded();
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_of_server_that_is_asked_for_is_found_wherever_it_stands() {
    let primary = PgServer::start();
    let standby = primary.standby();
    let database = Database::new_on(&primary.url()).await;
    let (first, second) = (primary.port, standby.port);
    let standby_has_it = format!(
        "SELECT 1 FROM pg_database WHERE datname = '{}'",
        database.name
    );
    eventually("the standby has the database", async || {
        standby.sql("postgres", &standby_has_it) == "1"
    })
    .await;
    for (hosts, attributes, expected) in [
        ([first, second], "any", first),
        ([second, first], "any", first),
        ([second, first], "read-write", first),
        ([second, first], "primary", first),
        ([first, second], "standby", second),
        ([first, second], "read-only", second),
        ([first, second], "prefer-standby", second),
    ] {
        let url = database
            .url(Login::Producer)
            .replace(&format!(":{first}/"), &format!(":{}/", hosts[0]));
        let url = and(
            &url,
            hosts[1],
            &format!("?target_session_attrs={attributes}"),
        );
        let found = pool::connect(pool::options(), &url.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(found.connect_options().get_port(), expected, "{attributes}");
        found.acquire().await.unwrap();
    }
    // A relay needs the primary.
    let stack = Stack {
        database,
        broker: VirtualHost::new(),
    };
    let url = stack
        .database
        .url(Login::Relay)
        .replace(&format!(":{first}/"), &format!(":{second}/"));
    let any = and(&url, first, "");
    stack
        .command_with(&["status"], &[("POSTROOM_DATABASE_URL", &any)])
        .await
        .succeeded();
    let standby = and(&url, first, "?target_session_attrs=standby");
    let refused = stack
        .command_with(&["status"], &[("POSTROOM_DATABASE_URL", &standby)])
        .await;
    assert_says(
        refused.error(),
        &["asks for a standby", "target_session_attrs=primary"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn if_no_server_can_be_used_each_is_named_with_its_cause() {
    let primary = PgServer::start();
    let standby = primary.standby();
    let database = Database::new_on(&primary.url()).await;
    let dead = free_port();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().port();
    let url = format!(
        "postgres://postgres:hunter2@127.0.0.1:{dead},127.0.0.1:{silent},127.0.0.1:{}/postgres?connect_timeout=1",
        standby.port
    );
    let causes = [
        format!("127.0.0.1:{dead}: "),
        "refused".to_owned(),
        format!("127.0.0.1:{silent}: no answer within 1s"),
        format!("127.0.0.1:{}: is a standby", standby.port),
    ];
    let causes = causes.each_ref().map(String::as_str);
    let stack = Stack {
        database,
        broker: VirtualHost::new(),
    };
    for arguments in [["status"].as_slice(), &["migrate"]] {
        let ended = stack
            .command_with(arguments, &[("POSTROOM_DATABASE_URL", &url)])
            .await;
        assert_says(ended.error(), &causes);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    let refused = pool::connect(pool::options(), &url.parse().unwrap()).await;
    assert_says(&refused.unwrap_err().to_string(), &causes);
}
