//! Configuration by environment variables.

/// Environment variables with the section and key that each sets. They override the file.
///
/// Of two variables that set the same value, the later one in this list wins.
pub const ENVIRONMENT: &[(&str, &str, &str)] = &[
    ("POSTROOM_DATABASE_URL_FILE", "database", "url_file"),
    ("POSTROOM_DATABASE_URL", "database", "url"),
    (
        "POSTROOM_DATABASE_ALLOW_PLAINTEXT",
        "database",
        "allow_plaintext",
    ),
    ("POSTROOM_AMQP_URL_FILE", "amqp", "url_file"),
    ("POSTROOM_AMQP_URL", "amqp", "url"),
    ("POSTROOM_AMQP_ALLOW_PLAINTEXT", "amqp", "allow_plaintext"),
    ("POSTROOM_AMQP_TLS_CA", "amqp.tls", "ca"),
    ("POSTROOM_AMQP_TLS_CERTIFICATE", "amqp.tls", "certificate"),
    ("POSTROOM_AMQP_TLS_KEY", "amqp.tls", "key"),
    ("POSTROOM_AMQP_TLS_SERVER_NAME", "amqp.tls", "server_name"),
    ("POSTROOM_AMQP_EXCHANGE", "amqp", "exchange"),
    ("POSTROOM_AMQP_DECLARE_EXCHANGE", "amqp", "declare_exchange"),
    ("POSTROOM_AMQP_SOURCE", "amqp", "source"),
    ("POSTROOM_AMQP_USER_ID", "amqp", "user_id"),
    ("POSTROOM_AMQP_CHANNELS", "amqp", "channels"),
    ("POSTROOM_AMQP_BATCH", "amqp", "batch"),
    ("POSTROOM_AMQP_CONFIRM_TIMEOUT", "amqp", "confirm_timeout"),
    ("POSTROOM_AMQP_CONNECT_TIMEOUT", "amqp", "connect_timeout"),
    ("POSTROOM_CAPTURE_POLL_SHORTEST", "capture", "poll_shortest"),
    ("POSTROOM_CAPTURE_POLL_LONGEST", "capture", "poll_longest"),
    ("POSTROOM_CAPTURE_PAGE_ROWS", "capture", "page_rows"),
    ("POSTROOM_CAPTURE_PAGE_BYTES", "capture", "page_bytes"),
    ("POSTROOM_PUBLISH_WINDOW_ROWS", "publish", "window_rows"),
    ("POSTROOM_PUBLISH_WINDOW_BYTES", "publish", "window_bytes"),
    ("POSTROOM_PUBLISH_KEY_ROWS", "publish", "key_rows"),
    ("POSTROOM_PUBLISH_RETRY_FIRST", "publish", "retry_first"),
    ("POSTROOM_PUBLISH_RETRY_LONGEST", "publish", "retry_longest"),
    (
        "POSTROOM_PUBLISH_DROP_UNROUTABLE",
        "publish",
        "drop_unroutable",
    ),
    (
        "POSTROOM_PUBLISH_CHECKPOINT_INTERVAL",
        "publish",
        "checkpoint_interval",
    ),
    ("POSTROOM_LEASE_TIMEOUT", "lease", "timeout"),
    ("POSTROOM_LEASE_DRAIN_TIMEOUT", "lease", "drain_timeout"),
    ("POSTROOM_RETENTION_KEEP", "retention", "keep"),
    ("POSTROOM_RETENTION_SEGMENT_AGE", "retention", "segment_age"),
    (
        "POSTROOM_RETENTION_SEGMENT_ROWS",
        "retention",
        "segment_rows",
    ),
    (
        "POSTROOM_RETENTION_CHECK_INTERVAL",
        "retention",
        "check_interval",
    ),
    ("POSTROOM_ADMIN_LISTEN", "admin", "listen"),
    ("POSTROOM_LOG_FORMAT", "log", "format"),
    ("POSTROOM_LOG_FILTER", "log", "filter"),
];

/// Variables with the relay's prefix that other programs read.
const OTHERS: &[&str] = &[
    "POSTROOM_CONFIG",
    "POSTROOM_AMQP_ADMIN_URL",
    "POSTROOM_RESTART_RABBITMQ",
    "POSTROOM_SEED",
    "POSTROOM_RELAY",
    "POSTROOM_OTHER_RELAY",
    "POSTROOM_BLESS",
    "POSTROOM_FUZZ_SECONDS",
];

/// Returns the variables that have the prefix of settings but are unknown, so that misspelt names are
/// reported.
pub(crate) fn unknown(variables: impl Iterator<Item = String>) -> Vec<String> {
    let is_known = |variable: &str| {
        let mut known = ENVIRONMENT.iter().map(|(variable, ..)| variable);
        known.any(|known| *known == variable) || OTHERS.contains(&variable)
    };
    let ours = variables.filter(|variable| variable.starts_with("POSTROOM_"));
    ours.filter(|variable| !is_known(variable)).collect()
}

/// Sets a key from the text of an environment variable.
pub(super) fn set(table: &mut toml::Table, section: &str, key: &str, text: &str) {
    let value = match (section, key) {
        ("publish", "drop_unroutable") => list(text),
        ("amqp", "declare_exchange" | "allow_plaintext" | "user_id")
        | ("database", "allow_plaintext") => match text.parse::<bool>() {
            Ok(value) => toml::Value::Boolean(value),
            Err(_) => toml::Value::from(text),
        },
        ("amqp", "channels" | "batch")
        | ("capture", "page_rows" | "page_bytes")
        | ("publish", "window_rows" | "window_bytes" | "key_rows")
        | ("retention", "segment_rows") => match text.parse::<i64>() {
            Ok(value) => toml::Value::Integer(value),
            Err(_) => toml::Value::from(text),
        },
        _ => toml::Value::from(text),
    };
    let mut inner = table;
    for name in section.split('.') {
        let entry = inner
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(table) = entry else {
            return;
        };
        inner = table;
    }
    if key == "url_file" {
        inner.remove("url");
    }
    inner.insert(key.to_owned(), value);
}

/// Parses texts separated by commas, or a list as in the file.
fn list(text: &str) -> toml::Value {
    if text.trim_start().starts_with('[') {
        let table = toml::from_str::<toml::Table>(&format!("list = {text}"));
        let list = table.ok().and_then(|mut table| table.remove("list"));
        return list.unwrap_or_else(|| toml::Value::from(text));
    }
    let texts = text.split(',').map(str::trim);
    let texts = texts.filter(|text| !text.is_empty());
    toml::Value::Array(texts.map(toml::Value::from).collect())
}
