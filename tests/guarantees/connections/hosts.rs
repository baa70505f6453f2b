//! The host that is dialled is the host that the URL writes.

use std::net::SocketAddr;

use postroom_testkit::{Database, Login, PgServer, Stack, VirtualHost, command};
use sqlx::Executor as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use crate::assert_says;

/// Listeners on one port of several addresses, and the names of those that were dialled.
struct Listeners {
    port: u16,
    dialled: mpsc::UnboundedReceiver<&'static str>,
}

impl Listeners {
    const HOSTS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "[::1]"];

    async fn new() -> Self {
        let (sender, dialled) = mpsc::unbounded_channel();
        'ports: loop {
            let port = postroom_testkit::private::free_port();
            let mut listeners = Vec::new();
            for host in Self::HOSTS {
                let address: SocketAddr = format!("{host}:{port}").parse().unwrap();
                let Ok(listener) = TcpListener::bind(address).await else {
                    continue 'ports;
                };
                listeners.push((host, listener));
            }
            for (host, listener) in listeners {
                let sender = sender.clone();
                tokio::spawn(async move {
                    while let Ok((mut client, _)) = listener.accept().await {
                        // The client's first bytes: a connection that says nothing is none.
                        let mut bytes = [0; 8];
                        if client.read_exact(&mut bytes).await.is_ok() {
                            sender.send(host).unwrap();
                        }
                        // Neither a broker nor a database begins like this.
                        let _ = client.write_all(b"X").await;
                    }
                });
            }
            return Self { port, dialled };
        }
    }

    /// Returns the host of the only connection so far.
    fn dialled(&mut self) -> &'static str {
        let first = self.dialled.try_recv().expect("a connection");
        while let Ok(host) = self.dialled.try_recv() {
            assert_eq!(host, first);
        }
        first
    }
}

/// Returns the environment with another URL.
fn with(stack: &Stack, variable: &str, url: String) -> Vec<(String, String)> {
    let mut environment = stack.environment();
    environment.push((variable.to_owned(), url));
    environment
}

#[tokio::test]
async fn the_host_that_is_dialled_is_the_host_written() {
    let stack = Stack::new().await;
    let mut listeners = Listeners::new().await;
    let port = listeners.port;
    for host in Listeners::HOSTS {
        let url = format!("amqp://u:p@{host}:{port}/v");
        let environment = with(&stack, "POSTROOM_AMQP_URL", url.clone());
        let check = command::relay(&["check"], &environment).await;
        assert_eq!(check.code, Some(1), "{check:?}");
        assert_eq!(listeners.dialled(), host, "{url}");
        for url in [
            format!("postgres://u:p@{host}:{port}/d"),
            format!(
                "postgres:///d?host={}&port={port}",
                host.trim_matches(['[', ']'])
            ),
        ] {
            let environment = with(&stack, "POSTROOM_DATABASE_URL", url.clone());
            for arguments in [["status"].as_slice(), &["migrate"], &["parked", "list"]] {
                command::relay(arguments, &environment).await.error();
                assert_eq!(listeners.dialled(), host, "{arguments:?} {url}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_that_would_lead_elsewhere_is_refused_by_name() {
    let stack = Stack::new().await;
    let mut listeners = Listeners::new().await;
    let port = listeners.port;
    for (host, says) in [
        ("127.1", "127.1 is no IPv4 address"),
        ("0x7f.0.0.1", "0x7f.0.0.1 is no IPv4 address"),
        ("2130706433", "2130706433 is no IPv4 address"),
        ("0.0.0.0", "stands for every address"),
        ("[::1%25lo]", "zone id"),
        ("[::1%lo]", "zone id"),
        ("::1", "write it in brackets"),
        ("bücher.example", "xn--"),
        ("local%20host", "no host name"),
        ("hunter2@localhost", "%40"),
    ] {
        for (variable, scheme) in [
            ("POSTROOM_AMQP_URL", "amqp"),
            ("POSTROOM_DATABASE_URL", "postgres"),
        ] {
            let url = format!("{scheme}://u:hunter2@{host}:{port}/v");
            let ended = command::relay(&["run"], &with(&stack, variable, url)).await;
            assert_says(ended.error(), &["is not understood", says]);
            assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        }
    }
    assert!(listeners.dialled.try_recv().is_err(), "nothing is dialled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_an_ipv6_address_serves_relay_commands_and_pools() {
    let postgres = PgServer::start_with("listen_addresses = '127.0.0.1,::1'");
    let stack = Stack {
        database: Database::new_on(&postgres.url()).await,
        broker: VirtualHost::new(),
    };
    let url = stack
        .database
        .url(Login::Relay)
        .replace("127.0.0.1", "[::1]");
    let changed = [("POSTROOM_DATABASE_URL", url.as_str())];
    let _relay = stack.relay_with(&changed).await;
    for arguments in [
        ["status"].as_slice(),
        &["check"],
        &["migrate"],
        &["parked", "list"],
    ] {
        let url = match arguments {
            ["migrate"] => stack
                .database
                .url(Login::Owner)
                .replace("127.0.0.1", "[::1]"),
            _ => url.clone(),
        };
        let changed = [("POSTROOM_DATABASE_URL", url.as_str())];
        stack.command_with(arguments, &changed).await.succeeded();
    }
    let address = stack
        .database
        .url(Login::Producer)
        .replace("127.0.0.1", "[::1]");
    let options = outbox::pool::options();
    let pool = outbox::pool::connect(options, &address.parse().unwrap())
        .await
        .unwrap();
    pool.execute("SELECT outbox.publish('t', '1')")
        .await
        .unwrap();
}
