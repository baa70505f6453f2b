use postroom_message::address::InvalidUrl;
use sqlx::postgres::PgSslMode;

use super::{super::TargetSession, DatabaseAddress};

fn parse(url: &str) -> Result<DatabaseAddress, InvalidUrl> {
    DatabaseAddress::parse_with(url, |_| None)
}

fn address(url: &str) -> DatabaseAddress {
    parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn servers(url: &str) -> Vec<String> {
    let address = address(url);
    address.servers().iter().map(ToString::to_string).collect()
}

/// The host and port that sqlx dials.
fn dialled(url: &str) -> (String, u16) {
    let options = address(url).servers()[0].options().unwrap();
    let socket = options
        .get_socket()
        .map(|socket| socket.display().to_string());
    let host = socket.unwrap_or_else(|| options.get_host().to_owned());
    (host, options.get_port())
}

#[test]
fn the_host_dialled_is_the_host_written() {
    for (url, host, port) in [
        ("postgres://u@db/d", "db", 5432),
        ("POSTGRES://u@db:6/d", "db", 6),
        ("postgresql://u@127.0.0.2:/d", "127.0.0.2", 5432),
        ("postgres://u@[::1]/d", "::1", 5432),
        ("postgres://u@[fd00::1]:7/d", "fd00::1", 7),
        ("postgres://u@%2Fvar%2Frun/d", "/var/run", 5432),
        ("postgres:///d?host=/var/run&port=8", "/var/run", 8),
        ("postgres:///d?host=db", "db", 5432),
        ("postgres://other/d?host=db", "db", 5432),
        ("postgres:///d?host=::1", "::1", 5432),
        ("postgres:///d?hostaddr=10.0.0.1", "10.0.0.1", 5432),
        ("postgres://db/d?hostaddr=::1", "::1", 5432),
        ("postgres://u:p%40%2F%26%3D@db/d", "db", 5432),
    ] {
        assert_eq!(dialled(url), (host.to_owned(), port), "{url}");
    }
}

#[test]
fn login_and_database_are_kept() {
    let options = address(
        "postgres://a%40b:p%26c%3D+@db/d%2Fe%20f?application_name=x&options=-c%20jit%3Doff",
    );
    let options = options.servers()[0].options().unwrap();
    assert_eq!(options.get_username(), "a@b");
    assert_eq!(options.get_database(), Some("d/e f"));
    assert_eq!(options.get_application_name(), Some("x"));
    assert_eq!(options.get_options(), Some("-c jit=off"));
    assert!(format!("{options:?}").contains("p&c=+"));
}

#[test]
fn several_servers_are_read_as_libpq_reads_them() {
    for (url, expected) in [
        ("postgres://u@a,b:5433/d", vec!["a:5432", "b:5433"]),
        (
            "postgres://u@[::1]:1,b:2,127.0.0.3/d",
            vec!["[::1]:1", "b:2", "127.0.0.3:5432"],
        ),
        ("postgres:///d?host=a,b&port=1", vec!["a:1", "b:1"]),
        ("postgres:///d?host=a,b&port=1,2", vec!["a:1", "b:2"]),
        ("postgres:///d?host=a,b&port=,2", vec!["a:5432", "b:2"]),
        ("postgres:///d?host=/run,b", vec!["/run:5432", "b:5432"]),
        (
            "postgres:///d?hostaddr=10.0.0.1,::1",
            vec!["10.0.0.1:5432", "[::1]:5432"],
        ),
        (
            "postgres://a,b/d?hostaddr=10.0.0.1,::1",
            vec!["a (10.0.0.1):5432", "b (::1):5432"],
        ),
        ("postgres:///d", vec!["this machine:5432"]),
        ("postgres://:6/d", vec!["this machine:6"]),
    ] {
        assert_eq!(servers(url), expected, "{url}");
    }
}

#[test]
fn the_environment_is_read_where_the_url_says_nothing() {
    let environment = |name: &str| {
        let value = match name {
            "PGHOST" => "a,[::1]",
            "PGPORT" => "1,2",
            "PGSSLMODE" => "verify-full",
            "PGTARGETSESSIONATTRS" => "primary",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let read = DatabaseAddress::parse_with("postgres:///d", environment).unwrap();
    let shown: Vec<String> = read.servers().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["a:1", "[::1]:2"]);
    assert_eq!(read.target(), TargetSession::Primary);
    assert_eq!(read.unverified(), None);
    let read =
        DatabaseAddress::parse_with("postgres://b:3/d?sslmode=disable", environment).unwrap();
    assert_eq!(read.servers()[0].to_string(), "b:3");
    assert!(read.unverified().is_some());
}

#[test]
fn an_address_that_would_lead_elsewhere_is_refused() {
    for url in [
        "mysql://u:secret@db/d",
        "postgres:u:secret@db/d",
        "host=db password=secret",
        "postgres://u:12/secret@db/d",
        "postgres://u:secret@db@evil/d",
        "postgres://u:secret@db/d#x",
        "postgres://:secret@db/d",
        "postgres://u:secret@[fe80::1%25eth0]/d",
        "postgres://u:secret@fd00::1/d",
        "postgres://u:secret@127.1/d",
        "postgres://u:secret@0x7f000001/d",
        "postgres://u:secret@a,,b/d",
        "postgres://u:secret@a,/d",
        "postgres://u:secret@a:0/d",
        "postgres://u:secret@a:65536/d",
        "postgres://u:secret@b\u{fc}cher.example/d",
        "postgres://u:secret@a b/d",
        "postgres://u:secret@a/d?host=a,b&port=1,2,3",
        "postgres://u:secret@a/d?hostaddr=db",
        "postgres://u:secret@a,b/d?hostaddr=10.0.0.1",
        "postgres://u:secret@a/d?port=x",
        "postgres://u:secret@a/d?sslmode=on",
        "postgres://u:secret@a/d?sslmod=require",
        "postgres://u:secret@a/d?ssl=true",
        "postgres://u:secret@a/d?channel_binding=require",
        "postgres://u:secret@a/d?gssencmode=require",
        "postgres://u:secret@a/d?sslcrl=/x",
        "postgres://u:secret@a/d?service=x",
        "postgres://u:secret@a/d?target_session_attrs=master",
        "postgres://u:secret@a/d?connect_timeout=soon",
        "postgres://u:secret@a/d?statement-cache-capacity=x",
        "postgres://u:secret@a/d?sslmode=require&sslmode=disable",
        "postgres://u:secret@a/d?sslmode=require&sslrootcert=system",
        "postgres://u:secret@a/d?hostaddr=10.0.0.1&sslmode=verify-full",
    ] {
        let refused = parse(url).expect_err(url).to_string();
        assert!(!refused.contains("secret"), "{url}: {refused}");
    }
}

/// The mode that sqlx gets.
fn mode(url: &str) -> &'static str {
    match address(url).servers()[0].options().unwrap().get_ssl_mode() {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

#[test]
fn a_root_certificate_makes_require_verify() {
    for (query, expected) in [
        ("", "prefer"),
        ("?sslmode=require", "require"),
        ("?sslmode=require&sslrootcert=/ca.pem", "verify-ca"),
        ("?sslrootcert=/ca.pem&sslmode=require", "verify-ca"),
        ("?sslmode=verify-full&sslrootcert=/ca.pem", "verify-full"),
        ("?sslrootcert=system", "verify-full"),
    ] {
        assert_eq!(
            mode(&format!("postgres://db/d{query}")),
            expected,
            "{query}"
        );
    }
    let root = |name: &str| (name == "PGSSLROOTCERT").then(|| "/ca.pem".to_owned());
    let read = DatabaseAddress::parse_with("postgres://db/d?sslmode=require", root).unwrap();
    let options = read.servers()[0].options().unwrap();
    assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyCa));
    // A socket has no encryption.
    assert_eq!(
        mode("postgres:///d?host=/run&sslmode=verify-full"),
        "disable"
    );
}

#[test]
fn beyond_this_machine_only_verify_full_proves_the_server() {
    for url in [
        "postgres://u@localhost/d",
        "postgres://u@127.0.0.9/d",
        "postgres://u@[::1]/d",
        "postgres:///d",
        "postgres:///d?host=/run",
        "postgres://u@db/d?hostaddr=127.0.0.1",
        "postgres://u@db/d?sslmode=verify-full",
        "postgres://u@a,localhost/d?sslmode=verify-full",
    ] {
        assert_eq!(address(url).unverified(), None, "{url}");
    }
    for (url, says) in [
        (
            "postgres://u@db/d",
            "sslmode=prefer sends everything in clear if",
        ),
        ("postgres://u@db/d?sslmode=disable", "in clear"),
        ("postgres://u@db/d?sslmode=allow", "in clear"),
        ("postgres://u@db/d?sslmode=require", "encrypts to anybody"),
        ("postgres://u@db/d?sslmode=verify-ca", "whatever its name"),
        (
            "postgres://u@db/d?sslmode=require&sslrootcert=/ca.pem",
            "whatever its name",
        ),
        ("postgres://u@localhost,db:1/d", "db:1 is another machine"),
        (
            "postgres://u@localhost.example/d",
            "localhost.example:5432 is",
        ),
        ("postgres://u@localhost/d?hostaddr=10.0.0.1", "10.0.0.1"),
    ] {
        let unverified = address(url).unverified().unwrap().to_string();
        assert!(unverified.contains(says), "{url}: {unverified}");
    }
}
