//! A database with TLS.

use std::fs;

use postroom_testkit::{
    Authority, Database, Identity, Login, PgServer, Stack, VirtualHost, eventually,
};

use crate::assert_says;

const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// A server whose certificate can be exchanged, and that wants a client certificate from the user `postgres`.
struct Server {
    authority: Authority,
    current: Identity,
    postgres: PgServer,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::new("our authority");
        let rules = authority.certificate.with_file_name("hba.conf");
        fs::write(
            &rules,
            "hostssl template1 all all trust clientcert=verify-ca\nhost all all all trust\n",
        )
        .unwrap();
        // Gives the whole folder to the server's user.
        let current = authority.identity("server", &HOSTS);
        let postgres = PgServer::start_with(&format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\nhba_file = '{}'",
            current.certificate.display(),
            current.key.display(),
            authority.certificate.display(),
            rules.display(),
        ));
        Self {
            authority,
            current,
            postgres,
        }
    }

    fn show(&self, identity: &Identity) {
        identity.replace(&self.current);
        self.postgres.reload();
    }
}

// On one thread, whose log is read.
#[tokio::test]
async fn each_wrong_certificate_of_the_database_is_refused_in_words() {
    let server = Server::start();
    let other = Authority::new("another authority");
    let stack = Stack {
        database: Database::new_on(&server.postgres.url()).await,
        broker: VirtualHost::new(),
    };
    let ca = server.authority.certificate.display().to_string();
    let url = |mode: &str, ca: &str| {
        let url = stack.database.url(Login::Relay);
        format!("{url}?sslmode={mode}&sslrootcert={ca}")
    };
    let full = url("verify-full", &ca);
    let changed = [("POSTROOM_DATABASE_URL", full.as_str())];
    {
        let relay = stack.relay_with(&changed).await;
        let encrypted = "SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                         WHERE ssl AND application_name LIKE 'postroom-relay%'";
        assert_eq!(server.postgres.sql("postgres", encrypted), "t");
        assert!(relay.stop().await.success());
    }
    stack.command_with(&["check"], &changed).await.succeeded();
    let wrong = server.authority.identity("wrong", &["other.example"]);
    for (identity, says) in [
        (server.authority.expired("expired", &HOSTS), "has expired"),
        (
            server.authority.self_signed("self", &HOSTS),
            "signed by itself",
        ),
        (
            other.identity("foreign", &HOSTS),
            "an authority that is not trusted here",
        ),
        (wrong.clone(), "is for another host"),
    ] {
        server.show(&identity);
        eventually(says, async || {
            let ended = stack.command_with(&["status"], &changed).await;
            ended.code == Some(1) && ended.error().contains(says)
        })
        .await;
    }
    // A consumer's pool is its service's, and the refusal is explained all the same.
    let log = crate::Log::default();
    let guard = log.set();
    let consumers = stack.database.url(Login::Consumer);
    let consumers = format!("{consumers}?sslmode=verify-full&sslrootcert={ca}")
        .parse()
        .unwrap();
    let options = outbox::pool::options().max_connections(10);
    let pool = outbox::pool::connect_lazy(options, &consumers).unwrap();
    let consumer = crate::consumer("amqp://localhost:1")
        .database(pool)
        .build()
        .unwrap();
    tokio::select! {
        ended = consumer.run(std::future::pending()) => panic!("{ended:?}"),
        () = eventually("it says why", async || log.text().contains("is for another host")) => {}
    }
    drop(guard);
    // The name is not compared, the authority is.
    for mode in ["require", "verify-ca"] {
        let right = url(mode, &ca);
        stack
            .command_with(&["status"], &[("POSTROOM_DATABASE_URL", &right)])
            .await
            .succeeded();
        let foreign = url(mode, &other.certificate.display().to_string());
        let ended = stack
            .command_with(&["status"], &[("POSTROOM_DATABASE_URL", &foreign)])
            .await;
        assert_says(ended.error(), &["an authority that is not trusted here"]);
    }
    let environment = [
        (
            "POSTROOM_DATABASE_URL",
            &*format!("{}?sslmode=require", stack.database.url(Login::Relay)),
        ),
        ("PGSSLROOTCERT", &*other.certificate.display().to_string()),
    ];
    let ended = stack.command_with(&["status"], &environment).await;
    assert_says(ended.error(), &["an authority that is not trusted here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_wants_a_client_certificate_says_so() {
    let server = Server::start();
    let other = Authority::new("another authority");
    let stack = Stack {
        database: Database::new_on(&server.postgres.url()).await,
        broker: VirtualHost::new(),
    };
    let ca = server.authority.certificate.display();
    let address = format!(
        "postgres://postgres@localhost:{}/template1",
        server.postgres.port
    );
    let bare = format!("{address}?sslmode=verify-full&sslrootcert={ca}");
    let status = async |url: &str| {
        stack
            .command_with(&["status"], &[("POSTROOM_DATABASE_URL", url)])
            .await
    };
    assert_says(status(&bare).await.error(), &["client certificate"]);
    let ours = server.authority.identity("relay", &[]);
    let with = |certificate: &std::path::Path, key: &std::path::Path| {
        format!(
            "{bare}&sslcert={}&sslkey={}",
            certificate.display(),
            key.display()
        )
    };
    // It connects, and finds no schema.
    assert_says(
        status(&with(&ours.certificate, &ours.key)).await.error(),
        &["schema"],
    );
    let theirs = other.identity("relay", &[]);
    let refused = status(&with(&theirs.certificate, &theirs.key)).await;
    assert_says(
        refused.error(),
        &["does not accept the client's certificate"],
    );
    let old = server.authority.expired("old", &[]);
    for (url, says) in [
        (with(&old.certificate, &old.key), "has expired; renew it"),
        (
            with(&ours.certificate, &theirs.key),
            "is not the one of the certificate",
        ),
        (
            with(std::path::Path::new("/nowhere/a.pem"), &ours.key),
            "cannot read /nowhere/a.pem",
        ),
        (
            format!("{bare}&sslcert={}", ours.certificate.display()),
            "without its key",
        ),
        (bare.replace("ca.pem", "missing.pem"), "missing.pem"),
    ] {
        assert_says(status(&url).await.error(), &[says]);
    }
}
