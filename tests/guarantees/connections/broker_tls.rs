//! A broker with TLS.

use std::path::Path;

use inbox::Tls;
use postroom_testkit::{
    Authority, Identity, RabbitNode, Stack, Tap, VirtualHost, eventually, private::free_port,
};
use url::Url;

use crate::{Log, assert_says, consumer, fake::Front};

const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

const CA: &str = "POSTROOM_AMQP_TLS_CA";
const CERTIFICATE: &str = "POSTROOM_AMQP_TLS_CERTIFICATE";
const KEY: &str = "POSTROOM_AMQP_TLS_KEY";
const SERVER_NAME: &str = "POSTROOM_AMQP_TLS_SERVER_NAME";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn server(stack: &Stack) -> (String, u16) {
    let url: Url = stack.broker.url().parse().unwrap();
    (url.host_str().unwrap().to_owned(), url.port().unwrap())
}

/// The broker's URL through a front.
fn through(stack: &Stack, front: &Front) -> String {
    let url = stack.broker.url().replacen("amqp://", "amqps://", 1);
    let mut url: Url = url.parse().unwrap();
    url.set_port(Some(front.port)).unwrap();
    url.into()
}

/// Returns what `relay check` prints, and the first complaint of a consumer; both fail.
async fn refusals(stack: &Stack, url: &str, tls: Tls, environment: &[(&str, &str)]) -> [String; 2] {
    let environment = [environment, &[("POSTROOM_AMQP_URL", url)]].concat();
    let check = stack.command_with(&["check"], &environment).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    let log = Log::default();
    let guard = log.set();
    let consuming = consumer(url)
        .database(stack.database.pool(postroom_testkit::Login::Consumer).await)
        .tls(tls);
    let consuming = consuming.build().unwrap().run(std::future::pending());
    tokio::select! {
        ended = consuming => panic!("{ended:?}"),
        () = eventually("it complains", async || log.text().contains("not connected to the broker")) => {}
    }
    drop(guard);
    [check.stdout, log.text()]
}

/// Asserts that `relay check` succeeds, and that a consumer receives from its queue.
async fn accepted(stack: &Stack, url: &str, tls: Tls, environment: &[(&str, &str)]) {
    let environment = [environment, &[("POSTROOM_AMQP_URL", url)]].concat();
    stack
        .command_with(&["check"], &environment)
        .await
        .succeeded();
    let log = Log::default();
    let guard = log.set();
    let consuming = consumer(url)
        .database(stack.database.pool(postroom_testkit::Login::Consumer).await)
        .tls(tls);
    let consuming = consuming.build().unwrap().run(std::future::pending());
    tokio::select! {
        ended = consuming => panic!("{ended:?}"),
        () = eventually("it receives", async || log.text().contains("connected to the queue")) => {}
    }
    drop(guard);
}

#[tokio::test]
async fn each_wrong_certificate_of_the_broker_is_refused_in_words() {
    let stack = Stack::new().await;
    stack.broker.declare_exchange();
    let authority = Authority::new("our authority");
    let other = Authority::new("another authority");
    let ca = text(&authority.certificate);
    let wrong = authority.identity("wrong", &["other.example"]);
    for (identity, says) in [
        (authority.expired("expired", &HOSTS), "has expired"),
        (authority.self_signed("self", &HOSTS), "signed by itself"),
        (
            other.identity("foreign", &HOSTS),
            "an authority that is not trusted here",
        ),
        (wrong.clone(), "is for another host"),
    ] {
        let front = Front::start(server(&stack), &identity, None).await;
        let url = through(&stack, &front);
        for said in refusals(&stack, &url, Tls::new().ca(ca), &[(CA, ca)]).await {
            assert_says(&said, &[says]);
        }
    }
    // The system's authorities know ours as little as we know others.
    let right = authority.identity("right", &HOSTS);
    let front = Front::start(server(&stack), &right, None).await;
    for said in refusals(&stack, &through(&stack, &front), Tls::new(), &[]).await {
        assert_says(&said, &["an authority that is not trusted here"]);
    }
    for (identity, name) in [(right, "127.0.0.1"), (wrong, "other.example")] {
        let front = Front::start(server(&stack), &identity, None).await;
        let url = through(&stack, &front);
        let tls = Tls::new().ca(ca).server_name(name);
        accepted(&stack, &url, tls, &[(CA, ca), (SERVER_NAME, name)]).await;
    }
}

#[tokio::test]
async fn a_broker_that_wants_a_client_certificate_says_so() {
    let stack = Stack::new().await;
    stack.broker.declare_exchange();
    let authority = Authority::new("our authority");
    let other = Authority::new("another authority");
    let ca = text(&authority.certificate);
    let own = authority.identity("server", &HOSTS);
    let front = Front::start(server(&stack), &own, Some(&authority)).await;
    let url = through(&stack, &front);
    for said in refusals(&stack, &url, Tls::new().ca(ca), &[(CA, ca)]).await {
        assert_says(&said, &["wants a client certificate"]);
    }
    let files = |identity: &Identity| {
        (
            text(&identity.certificate).to_owned(),
            text(&identity.key).to_owned(),
        )
    };
    let (certificate, key) = files(&other.identity("client", &[]));
    let tls = Tls::new().ca(ca).certificate(&certificate).key(&key);
    for said in refusals(
        &stack,
        &url,
        tls,
        &[(CA, ca), (CERTIFICATE, &certificate), (KEY, &key)],
    )
    .await
    {
        assert_says(&said, &["does not accept the client's certificate"]);
    }
    let (certificate, key) = files(&authority.identity("client", &[]));
    let tls = Tls::new().ca(ca).certificate(&certificate).key(&key);
    accepted(
        &stack,
        &url,
        tls,
        &[(CA, ca), (CERTIFICATE, &certificate), (KEY, &key)],
    )
    .await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let stack = Stack::new().await;
    let authority = Authority::new("our authority");
    let (ours, theirs) = (
        authority.identity("ours", &[]),
        authority.identity("theirs", &[]),
    );
    let old = authority.expired("old", &[]);
    let ca = text(&authority.certificate);
    let (certificate, key) = (text(&ours.certificate), text(&ours.key));
    let old = (text(&old.certificate), text(&old.key));
    for (files, says) in [
        (
            vec![(CA, "/nowhere/ca.pem")],
            vec!["cannot read /nowhere/ca.pem", "No such file"],
        ),
        (vec![(CA, key)], vec![key, "no certificate in PEM"]),
        (vec![(CA, old.0)], vec![old.0, "has expired; renew it"]),
        (
            vec![(CERTIFICATE, certificate)],
            vec![certificate, "without its key"],
        ),
        (vec![(KEY, key)], vec![key, "without its certificate"]),
        (
            vec![(CERTIFICATE, certificate), (KEY, certificate)],
            vec!["holds no private key"],
        ),
        (
            vec![(CERTIFICATE, certificate), (KEY, text(&theirs.key))],
            vec![certificate, text(&theirs.key), "is not the one of"],
        ),
        (
            vec![(CERTIFICATE, old.0), (KEY, old.1)],
            vec![old.0, "has expired; renew it"],
        ),
        (
            vec![(SERVER_NAME, "not a name")],
            vec!["\"not a name\"", "neither a host name nor"],
        ),
    ] {
        let url = "amqps://u:hunter2@localhost:1/v";
        let changed = [files.as_slice(), &[("POSTROOM_AMQP_URL", url)]].concat();
        let ended = stack.command_with(&["run"], &changed).await;
        assert_says(ended.error(), &says);
        let mut tls = Tls::new();
        for (name, file) in files {
            tls = match name {
                CA => tls.ca(file),
                CERTIFICATE => tls.certificate(file),
                KEY => tls.key(file),
                _ => tls.server_name(file),
            };
        }
        let refused = consumer(url).tls(tls).build().unwrap_err().to_string();
        assert_says(&refused, &says);
    }
    let changed = [
        ("POSTROOM_AMQP_URL", "amqp://u:hunter2@localhost:1/v"),
        (CA, ca),
    ];
    let ended = stack.command_with(&["run"], &changed).await;
    assert_says(
        ended.error(),
        &["the URL begins with amqp://", "write amqps://"],
    );
}

/// The login is the certificate's name, and no password is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_logs_in_by_its_certificate() {
    let authority = Authority::new("our authority");
    let own = authority.identity("server", &HOSTS);
    let port = free_port();
    let node = RabbitNode::start_with(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\nssl_cert_login_from = common_name\nauth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n",
        authority.certificate.display(),
        own.certificate.display(),
        own.key.display(),
    ));
    let stack = Stack {
        database: postroom_testkit::Database::new().await,
        broker: VirtualHost::new_on(&node.url(), &node.admin_url()),
    };
    let user = "orders_relay";
    node.control(&["add_user", user, "another-secret"]);
    node.control(&[
        "set_permissions",
        "-p",
        &stack.broker.name,
        user,
        ".*",
        ".*",
        ".*",
    ]);
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let client = authority.identity(user, &[]);
    let url = format!(
        "amqps://localhost:{port}/{}?auth_mechanism=external",
        stack.broker.name
    );
    let changed = [
        ("POSTROOM_AMQP_URL", url.as_str()),
        (CA, text(&authority.certificate)),
        (CERTIFICATE, text(&client.certificate)),
        (KEY, text(&client.key)),
    ];
    let _relay = stack.relay_with(&changed).await;
    let pool = stack.database.pool(postroom_testkit::Login::Producer).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&pool)
        .await
        .unwrap();
    tap.distinct(1).await;
    // Without a certificate the mechanism is refused by name.
    let ended = stack
        .command_with(&["run"], &[("POSTROOM_AMQP_URL", url.as_str())])
        .await;
    assert_says(
        ended.error(),
        &["auth_mechanism=external", "client certificate"],
    );
}
