//! Configuration files and environments, valid and invalid.

use std::{fs, time::Duration};

use super::{Config, ENVIRONMENT};
use crate::config::unknown;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let name = format!(
        "postroom-config-{}-{:?}.toml",
        std::process::id(),
        std::thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    let lookup = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let loaded = Config::load(Some(&path), lookup).map_err(|error| error.to_string());
    fs::remove_file(path).unwrap();
    loaded
}

#[test]
fn the_environment_overrides_the_file() {
    let config = load(
        "[amqp]\nexchange = 'shop'\nchannels = 2\n[lease]\ntimeout = '3s'",
        &[
            ("POSTROOM_AMQP_CHANNELS", "7"),
            ("POSTROOM_PUBLISH_DROP_UNROUTABLE", "a.#, b"),
        ],
    )
    .unwrap();
    assert_eq!(config.amqp.exchange, "shop");
    assert_eq!(config.amqp.channels, 7);
    assert_eq!(config.lease.timeout, Duration::from_secs(3));
    assert_eq!(config.publish.drop_unroutable, ["a.#", "b"]);
}

#[test]
fn a_list_in_the_environment_may_have_the_files_syntax() {
    let dropped = |text| {
        let loaded = load("", &[("POSTROOM_PUBLISH_DROP_UNROUTABLE", text)]);
        loaded.map(|config| config.publish.drop_unroutable)
    };
    assert_eq!(dropped("['a.#', \"b\"]").unwrap(), ["a.#", "b"]);
    let error = dropped("['a.#', ").unwrap_err();
    assert!(
        error.contains("POSTROOM_PUBLISH_DROP_UNROUTABLE"),
        "{error}"
    );
}

#[test]
fn a_url_of_the_environment_overrides_the_file() {
    let secret = std::env::temp_dir().join(format!("postroom-url-{}", std::process::id()));
    fs::write(&secret, "amqp://from-a-secret\n").unwrap();
    let name = secret.to_str().unwrap();
    let url = |environment: &[(&str, &str)]| {
        let config = load("[amqp]\nurl = 'amqp://from-the-file'", environment).unwrap();
        config.amqp_url().unwrap().expose().to_owned()
    };
    let file = ("POSTROOM_AMQP_URL_FILE", name);
    let direct = ("POSTROOM_AMQP_URL", "amqp://from-the-environment");
    assert_eq!(url(&[]), "amqp://from-the-file");
    assert_eq!(url(&[file]), "amqp://from-a-secret");
    assert_eq!(url(&[direct]), "amqp://from-the-environment");
    assert_eq!(url(&[direct, file]), "amqp://from-the-environment");
    fs::remove_file(secret).unwrap();
}

#[test]
fn misspelt_variables_are_found() {
    let variables = [
        "POSTROOM_LEASE_TIMEOOT",
        "POSTROOM_LEASE_TIMEOUT",
        "POSTROOM_CONFIG",
        "POSTROOM_AMQP_ADMIN_URL",
        "POSTROOM_LEASES",
        "HOME",
    ];
    let unknown = unknown(variables.map(str::to_owned).into_iter());
    assert_eq!(unknown, ["POSTROOM_LEASE_TIMEOOT", "POSTROOM_LEASES"]);
}

/// Reads `packaging/relay.toml` with every commented-out key made active.
#[test]
fn the_packaged_file_names_every_key_and_its_default() {
    let packaged = include_str!("../../../../packaging/relay.toml");
    let whole = packaged.replace("\n#", "\n").replace("\n ", "\n# ");
    let mut table: toml::Table = toml::from_str(&whole).unwrap();
    let config: Config = toml::Value::Table(table.clone()).try_into().unwrap();
    let mut defaults = Config::default();
    defaults.database.url_file = config.database.url_file.clone();
    defaults.amqp.url_file = config.amqp.url_file.clone();
    // Files have no defaults; the packaged file shows examples.
    defaults.amqp.tls = config.amqp.tls.clone();
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    for (variable, section, key) in ENVIRONMENT {
        let mut inner = &mut table;
        for name in section.split('.') {
            inner = inner[name].as_table_mut().unwrap();
        }
        assert!(*key == "url" || inner.remove(*key).is_some(), "{variable}");
    }
    table["amqp"].as_table_mut().unwrap().remove("tls");
    assert!(
        table
            .values()
            .all(|section| section.as_table().unwrap().is_empty())
    );
}

#[test]
fn an_error_names_its_line_variable_or_key() {
    let error = load("[amqp]\nexchnge = 'shop'", &[]).unwrap_err();
    assert!(
        error.contains("exchnge") && error.contains("line 2"),
        "{error}"
    );
    let error = load("", &[("POSTROOM_AMQP_CHANNELS", "many")]).unwrap_err();
    assert!(error.contains("POSTROOM_AMQP_CHANNELS"), "{error}");
    let error = load("[lease]\ntimeout = '10ms'", &[]).unwrap_err();
    assert!(
        error.contains("lease.timeout") && error.contains("at least 1s"),
        "{error}"
    );
    for (section, mistake) in [
        ("retention", "check_interval = '0s'"),
        ("retention", "segment_rows = -1"),
        ("amqp", "confirm_timeout = '0s'"),
        ("publish", "retry_longest = '500ms'"),
        ("capture", "poll_longest = '1ms'"),
    ] {
        let error = load(&format!("[{section}]\n{mistake}"), &[]).unwrap_err();
        let key = format!("{section}.{}", mistake.split(' ').next().unwrap());
        assert!(
            error.contains(&key) && error.contains("at least"),
            "{error}"
        );
    }
    for (section, mistake) in [
        ("lease", "timeout = '1000years'"),
        ("publish", "checkpoint_interval = '8days'"),
        ("retention", "segment_age = '200years'"),
    ] {
        let error = load(&format!("[{section}]\n{mistake}"), &[]).unwrap_err();
        let key = format!("{section}.{}", mistake.split(' ').next().unwrap());
        assert!(error.contains(&key) && error.contains("at most"), "{error}");
    }
    let error = load("", &[]).unwrap().amqp_url().unwrap_err().to_string();
    assert!(error.contains("POSTROOM_AMQP_URL"), "{error}");
}

#[test]
fn every_variable_sets_an_existing_key() {
    for (variable, section, key) in ENVIRONMENT {
        let value = match *key {
            "url" | "exchange" | "source" | "filter" | "url_file" | "drop_unroutable" | "ca"
            | "certificate" | "key" | "server_name" => "x",
            "declare_exchange" | "allow_plaintext" => "false",
            "listen" => "127.0.0.1:1",
            "format" => "json",
            "page_bytes" => "3000",
            "channels" | "batch" | "page_rows" | "window_rows" | "window_bytes" | "key_rows"
            | "segment_rows" => "3",
            "segment_age" => "2days",
            _ => "2s",
        };
        let mut environment = vec![(*variable, value)];
        if *key == "url_file" {
            environment[0].1 = "/dev/null";
        }
        if *key == "poll_shortest" {
            environment.push(("POSTROOM_CAPTURE_POLL_LONGEST", "2s"));
        }
        load("", &environment).unwrap_or_else(|error| panic!("{section}.{key}: {error}"));
    }
}
