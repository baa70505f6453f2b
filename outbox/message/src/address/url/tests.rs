use super::{InvalidUrl, Url};

fn url(text: &str) -> Result<Url, InvalidUrl> {
    Url::parse(text, "amqp")
}

#[test]
fn parts_are_decoded() {
    let url = url("AMQP://anna%40x:p%2F%3A%25%23@mq:1/a%2Fb/../c?x=1%262&y=").unwrap();
    assert_eq!(url.scheme, "amqp");
    assert_eq!(url.user.as_deref(), Some("anna@x"));
    assert_eq!(url.password.as_deref(), Some("p/:%#"));
    assert_eq!(url.hosts, "mq:1");
    assert_eq!(url.path.as_deref(), Some("a/b/../c"));
    let query = [("x", "1&2"), ("y", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(url.query, query);
}

#[test]
fn a_url_whose_host_is_not_certain_is_refused() {
    for text in [
        "amqp://anna:12/secret@mq/v",
        "amqp://anna:12?secret@mq/v",
        "amqp://anna:12#secret@mq/v",
        "amqp://anna:secret@mq@other/v",
        "amqp://anna:secret@mq/v@w",
        "amqp://anna:secret@mq/v#w",
        "amqp://anna:secret%@mq/v",
        "amqp://anna:secret%zz@mq/v",
        "amqp://anna:secret%00@mq/v",
        "amqp://anna:secret%ff@mq/v",
        "amqp://anna:sec ret@mq/v",
        " amqp://anna:secret@mq/v",
        "amqp://anna:secret@mq/v\n",
        "amqp://anna:secret@m\tq/v",
        "amqp://anna:secret@mq/v?secret",
        "amqp://anna:secret@mq/v?x=1&x=2",
        "amqp://:secret@mq/v",
        "amqp:anna:secret@mq",
        "amqp:/anna:secret@mq",
        "//anna:secret@mq",
        "secret",
        "",
    ] {
        let refused = url(text).unwrap_err();
        assert!(!refused.to_string().contains("secret"), "{text}: {refused}");
    }
}

#[test]
fn a_port_is_a_number_from_1_to_65535() {
    assert_eq!(Url::split_port("mq:5672"), Ok(("mq", Some(5672))));
    assert_eq!(Url::split_port("[::1]:1"), Ok(("[::1]", Some(1))));
    assert_eq!(Url::split_port("[::1]"), Ok(("[::1]", None)));
    assert_eq!(Url::split_port("mq:"), Ok(("mq", None)));
    for text in [
        "mq:0",
        "mq:65536",
        "mq:-1",
        "mq:+1",
        "mq:0x1",
        "mq:x",
        "::1",
        "fd00::1:5672",
        "mq:1:2",
    ] {
        assert!(Url::split_port(text).is_err(), "{text}");
    }
}
