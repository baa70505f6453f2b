//! Beyond this machine nothing is sent in clear unless an operator allows it.

use std::net::{IpAddr, Ipv4Addr};

use postroom_testkit::{Stack, command, eventually};

use crate::{
    assert_says,
    fake::{Recorder, other_address},
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The server's answer that it has no encryption.
const NO_TLS: &[u8] = b"N";

fn with(stack: &Stack, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let changes = changes
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    stack.environment().into_iter().chain(changes).collect()
}

#[tokio::test]
async fn the_database_password_reaches_no_other_machine_in_clear() {
    let stack = Stack::new().await;
    let host = other_address();
    let recorder = Recorder::start(host.unwrap_or(LOOPBACK), NO_TLS).await;
    let port = recorder.address.port();
    let host = host.map_or_else(|| "192.0.2.1".to_owned(), |host| host.to_string());
    for (query, says) in [
        ("", "sslmode=prefer sends everything in clear if the server"),
        (
            "?sslmode=disable",
            "sslmode=disable sends everything in clear",
        ),
        ("?sslmode=allow", "sslmode=allow sends everything in clear"),
        ("?sslmode=require", "sslmode=require encrypts to anybody"),
        ("?sslmode=verify-ca", "whatever its name"),
    ] {
        let url = format!("postgres://relay:hunter2@{host}:{port}/d{query}");
        let environment = with(&stack, &[("POSTROOM_DATABASE_URL", &url)]);
        for arguments in [
            ["run"].as_slice(),
            &["status"],
            &["migrate"],
            &["rebase"],
            &["parked", "list"],
        ] {
            let ended = command::relay(arguments, &environment).await;
            let ways_out = ["sslmode=verify-full", "database.allow_plaintext = true"];
            assert_says(ended.error(), &[says, ways_out[0], ways_out[1]]);
        }
        let check = command::relay(&["check"], &environment).await;
        assert_eq!(check.code, Some(1));
        assert_says(&check.stdout, &[says]);
    }
    assert_eq!(recorder.heard(), "", "nothing is sent");
}

#[tokio::test]
async fn plaintext_to_another_machine_is_possible_where_it_is_allowed() {
    let stack = Stack::new().await;
    let Some(host) = other_address() else {
        return;
    };
    let database = Recorder::start(host, NO_TLS).await;
    let broker = Recorder::start(host, b"X").await;
    let database_url = format!("postgres://relay:hunter2@{}/d", database.address);
    let broker_url = format!("amqp://relay:hunter2@{}/v", broker.address);
    let environment = with(
        &stack,
        &[
            ("POSTROOM_DATABASE_URL", &database_url),
            ("POSTROOM_AMQP_URL", &broker_url),
            ("POSTROOM_DATABASE_ALLOW_PLAINTEXT", "true"),
            ("POSTROOM_AMQP_ALLOW_PLAINTEXT", "true"),
            ("POSTROOM_AMQP_CONNECT_TIMEOUT", "1s"),
        ],
    );
    let check = tokio::spawn(async move { command::relay(&["check"], &environment).await });
    eventually("both are dialled", async || {
        database.heard().contains("relay") && broker.heard().contains("AMQP")
    })
    .await;
    check.abort();
}

/// A man in the middle says that the server has no encryption.
#[tokio::test]
async fn a_server_that_declines_encryption_gets_no_password() {
    let stack = Stack::new().await;
    let recorder = Recorder::start(LOOPBACK, NO_TLS).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!(
            "postgres://relay:hunter2@{}/d?sslmode={mode}",
            recorder.address
        );
        let environment = with(&stack, &[("POSTROOM_DATABASE_URL", &url)]);
        let ended = command::relay(&["status"], &environment).await;
        assert_says(
            ended.error(),
            &["answers without TLS", "find out who answers"],
        );
    }
    let heard = recorder.heard();
    assert!(
        !heard.contains("relay") && !heard.contains("hunter2"),
        "{heard:?}"
    );
}

#[tokio::test]
async fn the_broker_password_reaches_no_other_machine_in_clear() {
    let stack = Stack::new().await;
    let host = other_address();
    let recorder = Recorder::start(host.unwrap_or(LOOPBACK), b"AMQP\0\0\x09\x01").await;
    let port = recorder.address.port();
    let host = host.map_or_else(|| "192.0.2.1".to_owned(), |host| host.to_string());
    let url = format!("amqp://relay:hunter2@{host}:{port}/v");
    let environment = with(&stack, &[("POSTROOM_AMQP_URL", &url)]);
    let ended = command::relay(&["run"], &environment).await;
    assert_says(
        ended.error(),
        &["in clear", "amqps://", "amqp.allow_plaintext = true"],
    );
    let check = command::relay(&["check"], &environment).await;
    assert_says(&check.stdout, &["in clear", "amqps://"]);
    let consumer = crate::consumer(&url).build().unwrap_err().to_string();
    assert_says(
        &consumer,
        &["in clear", &host, "amqps://", "allow_plaintext(true)"],
    );
    assert_eq!(recorder.heard(), "", "nothing is sent");
    assert!(crate::consumer(&url).allow_plaintext(true).build().is_ok());
}

#[tokio::test]
async fn a_broker_without_tls_gets_no_password() {
    let stack = Stack::new().await;
    // Its answer to a client that does not begin with the protocol's header.
    let recorder = Recorder::start(LOOPBACK, b"AMQP\0\0\x09\x01").await;
    let url = format!("amqps://relay:hunter2@{}/v", recorder.address);
    let check = command::relay(&["check"], &with(&stack, &[("POSTROOM_AMQP_URL", &url)])).await;
    assert_eq!(check.code, Some(1));
    assert_says(&check.stdout, &["does not speak TLS at this port"]);
    assert!(!recorder.heard().contains("hunter2"));
}
