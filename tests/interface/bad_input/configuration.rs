//! A wrong configuration.

use std::path::PathBuf;

use postroom_testkit::{Stack, command, unique};

use crate::{assert_says, refused};

/// A file that is removed when dropped.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(unique("postroom_config"));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap_or_default();
    }
}

/// Returns the error of `relay run` about a file, with an empty environment.
async fn refused_file(name: &str) -> String {
    let nothing: [(&str, &str); 0] = [];
    let ended = command::relay(&["run", "--config", name], &nothing).await;
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    ended.error().to_owned()
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let error = refused_file("/nowhere/relay.toml").await;
    assert_says(
        &error,
        &[
            "reading the configuration /nowhere/relay.toml",
            "No such file",
        ],
    );
}

#[tokio::test]
async fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
    let file = File::new("[database]\n\n[amqp]\nexchnge = 'shop'\n");
    let error = refused_file(file.name()).await;
    assert_says(&error, &[file.name(), "line 4", "`exchnge`", "`exchange`"]);
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_is_named_with_its_line() {
    let file = File::new("[amqp]\nexchange = 'shop'\nchannels = 'many'\n");
    let error = refused_file(file.name()).await;
    assert_says(&error, &[file.name(), "line 3", "\"many\""]);
}

#[tokio::test]
async fn a_line_that_is_no_toml_is_named_without_the_password_in_it() {
    let file = File::new("[database]\nurl = 'postgres://relay:hunter2@db/shop' # '\noops\n");
    assert_says(&refused_file(file.name()).await, &[file.name(), "line 3"]);
    let file = File::new("[database]\nurl = 'postgres://relay:hunter2@db/shop\n");
    assert_says(&refused_file(file.name()).await, &[file.name(), "line 2"]);
}

#[tokio::test]
async fn missing_urls_are_asked_for() {
    let file = File::new("[log]\nformat = 'json'\n");
    let error = refused_file(file.name()).await;
    assert_says(
        &error,
        &["no database.url", "POSTROOM_DATABASE_URL", "_FILE"],
    );
    let file = File::new("[database]\nurl = 'postgres://relay:hunter2@db/shop'\n");
    let error = refused_file(file.name()).await;
    assert_says(&error, &["no amqp.url", "POSTROOM_AMQP_URL", "_FILE"]);
}

#[tokio::test]
async fn a_file_for_a_secret_that_is_missing_is_named() {
    let file = File::new("[database]\nurl_file = '/nowhere/secret'\n");
    assert_says(
        &refused_file(file.name()).await,
        &["/nowhere/secret", "No such file"],
    );
}

#[tokio::test]
async fn a_bad_variable_is_named() {
    let stack = Stack::new().await;
    for (variable, value, said) in [
        ("POSTROOM_AMQP_CHANNELS", "many", "\"many\""),
        (
            "POSTROOM_AMQP_CHANNELS",
            "1000",
            "amqp.channels = 1000: must be 1 to 64",
        ),
        (
            "POSTROOM_CAPTURE_PAGE_BYTES",
            "0",
            "capture.page_bytes = 0: must be 1024 to 1073741824",
        ),
        (
            "POSTROOM_CAPTURE_POLL_SHORTEST",
            "0s",
            "capture.poll_shortest = 0s: must be at least 100us",
        ),
        (
            "POSTROOM_LEASE_TIMEOUT",
            "10 parsecs",
            "POSTROOM_LEASE_TIMEOUT",
        ),
        (
            "POSTROOM_LEASE_TIMEOUT",
            "10ms",
            "lease.timeout = 10ms: must be at least 1s",
        ),
        (
            "POSTROOM_LEASE_TIMEOUT",
            "10 parsecs",
            "expected a duration such as 500ms, 10s or 2h",
        ),
        (
            "POSTROOM_RETENTION_KEEP",
            "45h",
            "retention.keep = 1day 21h: must be less than fifteen times retention.segment_age",
        ),
        (
            "POSTROOM_LOG_FILTER",
            "relay=loud",
            "log.filter = \"relay=loud\"",
        ),
        ("POSTROOM_DATABASE_URL", "not a url", "database"),
        ("POSTROOM_AMQP_URL", "http://localhost", "broker"),
    ] {
        let error = refused(&stack, &[(variable, value)]).await;
        assert_says(&error, &[said]);
    }
}

#[tokio::test]
async fn a_taken_port_for_health_is_named() {
    let stack = Stack::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = refused(&stack, &[("POSTROOM_ADMIN_LISTEN", &address)]).await;
    assert_says(
        &error,
        &[&address, "in use", "set admin.listen to a free address"],
    );
}
