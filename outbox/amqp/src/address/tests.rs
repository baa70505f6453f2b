use super::{Address, Tls};

fn address(url: &str) -> Address {
    url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn the_password_is_not_shown() {
    let address = address("amqp://guest:secret@localhost:5673/%2f");
    assert_eq!(format!("{address:?}"), "guest@localhost:5673//");
}

#[test]
fn each_form_of_host_is_kept() {
    for (url, host) in [
        ("amqp://a:b@mq.example:1/v", "mq.example"),
        ("amqp://a:b@127.0.0.2:1/v", "127.0.0.2"),
        ("amqp://a:b@[fd00::1]:1/v", "fd00::1"),
        ("amqps://a:b@[::1]/v", "::1"),
        ("AMQPS://a:b@m%71.example./v", "mq.example."),
    ] {
        assert_eq!(address(url).uri().authority.host, host, "{url}");
    }
}

#[test]
fn each_virtual_host_is_kept() {
    for (url, vhost) in [
        ("amqp://a:b@mq", "/"),
        ("amqp://a:b@mq?heartbeat=1", "/"),
        ("amqp://a:b@mq/%2f", "/"),
        ("amqp://a:b@mq/%2F", "/"),
        ("amqp://a:b@mq//", "/"),
        ("amqp://a:b@mq/v", "v"),
        ("amqp://a:b@mq/a/b", "a/b"),
        ("amqp://a:b@mq/a%2fb", "a/b"),
        ("amqp://a:b@mq/..", ".."),
        ("amqp://a:b@mq/a/../b", "a/../b"),
        ("amqp://a:b@mq/a%20b+c", "a b+c"),
        ("amqp://a:b@mq/käse", "käse"),
    ] {
        assert_eq!(address(url).uri().vhost, vhost, "{url}");
    }
}

#[test]
fn users_and_passwords_are_kept() {
    for (url, user, password) in [
        ("amqp://mq", "guest", "guest"),
        ("amqp://a@mq", "a", ""),
        ("amqp://a:@mq", "a", ""),
        ("amqp://a%40b:c%3A%2F%23d@mq", "a@b", "c:/#d"),
        ("amqp://a:b:c@mq", "a", "b:c"),
        ("amqp://ä:!$&'()*+,;=@mq", "ä", "!$&'()*+,;="),
    ] {
        let userinfo = address(url).uri().authority.userinfo.clone();
        assert_eq!(
            (userinfo.username.as_str(), userinfo.password.as_str()),
            (user, password),
            "{url}"
        );
    }
}

#[test]
fn only_this_machine_may_be_reached_in_clear() {
    for url in [
        "amqp://localhost",
        "amqp://127.0.0.9",
        "amqp://[::1]",
        "amqps://mq",
        "amqps://10.0.0.1",
    ] {
        assert!(!address(url).is_exposed(), "{url}");
    }
    for url in [
        "amqp://mq",
        "amqp://10.0.0.1",
        "amqp://[fd00::1]",
        "amqp://localhost.example",
        "amqp://localhosts",
    ] {
        assert!(address(url).is_exposed(), "{url}");
    }
}

#[test]
fn settings_of_tls_that_would_have_no_effect_are_refused() {
    let external = "?auth_mechanism=external";
    assert!(
        address(&format!("amqp://localhost{external}"))
            .check_tls()
            .is_err()
    );
    assert!(
        address(&format!("amqps://localhost{external}"))
            .check_tls()
            .is_err()
    );
    let named = address("amqp://localhost").with_tls(Tls::new().server_name("mq"));
    assert!(named.check_tls().is_err());
    let half = address("amqps://localhost").with_tls(Tls::new().key("/key.pem"));
    assert!(half.check_tls().is_err());
}

#[test]
fn an_address_that_would_lead_elsewhere_is_refused() {
    for url in [
        "amqp:///v",
        "amqp://",
        "amqp://a:secret@/v",
        "amqp://a:secret@:5672/v",
        "amqp://a:secret@mq/",
        "amqp://a:secret@mq/?heartbeat=1",
        "amqp://a:secret@[fe80::1%25eth0]/v",
        "amqp://a:secret@fd00::1/v",
        "amqp://a:secret@127.1/v",
        "amqp://a:secret@2130706433/v",
        "amqp://a:secret@0x7f.1/v",
        "amqp://a:secret@b\u{fc}cher.example/v",
        "amqp://a:secret@mq,mq2/v",
        "amqp://a:secret@%2Ftmp/v",
        "amqp://a:secret@m%20q/v",
        "amqp://a:secret@mq\\@evil/v",
        "amqp://a:secret@mq:0/v",
        "amqp://a:secret@mq:65536/v",
        "amqp://a:secret@mq@evil/v",
        "amqp://a:12/secret@mq/v",
        "amqp://a:secret@mq/v#w",
        "amqp://a:secret@mq/v?verify=verify_none",
        "amqp://a:secret@mq/v?cacertfile=/ca.pem",
        "amqp://a:secret@mq/v?hartbeat=1",
        "amqp://a:secret@mq/v?heartbeat=-1",
        "amqp://a:secret@mq/v?heartbeat=70000",
        "amqp://a:secret@mq/v?frame_max=0",
        "amqp://a:secret@mq/v?auth_mechanism=none",
        "http://a:secret@mq/v",
        "amqp+ssl://a:secret@mq/v",
        " amqp://a:secret@mq/v",
    ] {
        let refused = url.parse::<Address>().unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{url}: {refused}");
    }
}
