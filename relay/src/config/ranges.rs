//! Allowed ranges of configuration values.

use std::{fmt::Display, time::Duration};

use super::{Config, ConfigError, UserId};

const DAY: Duration = Duration::from_hours(24);

impl Config {
    /// Refuses values that would break the relay or its database.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_counts()?;
        self.check_durations()?;
        let user_id = match &self.amqp.user_id {
            UserId::Name(name) => Some(("amqp.user_id", name)),
            UserId::OfUrl(_) => None,
        };
        let names = [
            ("amqp.exchange", &self.amqp.exchange),
            ("amqp.source", &self.amqp.source),
        ];
        for (key, name) in names.into_iter().chain(user_id) {
            let fits = (1..=255).contains(&name.len());
            within(fits, key, format!("{name:?}"), "1 to 255 bytes long")?;
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), ConfigError> {
        let (amqp, capture, publish) = (&self.amqp, &self.capture, &self.publish);
        let (page_rows, page_bytes) = (capture.page_rows as usize, capture.page_bytes as usize);
        for (key, value, least, most, range) in [
            ("amqp.channels", amqp.channels, 1, 64, "1 to 64"),
            ("amqp.batch", amqp.batch, 1, 10_000, "1 to 10000"),
            ("capture.page_rows", page_rows, 1, 100_000, "1 to 100000"),
            (
                "capture.page_bytes",
                page_bytes,
                1 << 10,
                1 << 30,
                "1024 to 1073741824",
            ),
            (
                "publish.window_rows",
                publish.window_rows,
                1,
                1_000_000,
                "1 to 1000000",
            ),
            (
                "publish.window_bytes",
                publish.window_bytes,
                1,
                1 << 40,
                "at least 1",
            ),
            (
                "publish.key_rows",
                publish.key_rows,
                1,
                1_000_000,
                "1 to 1000000",
            ),
        ] {
            within((least..=most).contains(&value), key, value, range)?;
        }
        let rows = self.retention.segment_rows;
        within(rows >= 1, "retention.segment_rows", rows, "at least 1")
    }

    fn check_durations(&self) -> Result<(), ConfigError> {
        let (amqp, capture, publish) = (&self.amqp, &self.capture, &self.publish);
        let (lease, retention) = (&self.lease, &self.retention);
        let millis = Duration::from_millis;
        for (key, value, least, range) in [
            (
                "amqp.confirm_timeout",
                amqp.confirm_timeout,
                millis(100),
                "at least 100ms",
            ),
            (
                "amqp.connect_timeout",
                amqp.connect_timeout,
                millis(100),
                "at least 100ms",
            ),
            (
                "capture.poll_shortest",
                capture.poll_shortest,
                Duration::from_micros(100),
                "at least 100us",
            ),
            (
                "capture.poll_longest",
                capture.poll_longest,
                capture.poll_shortest,
                "at least poll_shortest",
            ),
            (
                "publish.retry_first",
                publish.retry_first,
                millis(10),
                "at least 10ms",
            ),
            (
                "publish.retry_longest",
                publish.retry_longest,
                publish.retry_first,
                "at least retry_first",
            ),
            ("lease.timeout", lease.timeout, millis(1_000), "at least 1s"),
            (
                "retention.segment_age",
                retention.segment_age,
                millis(1_000),
                "at least 1s",
            ),
            (
                "retention.check_interval",
                retention.check_interval,
                millis(10),
                "at least 10ms",
            ),
        ] {
            let shown = humantime::format_duration(value);
            within(value >= least, key, shown, range)?;
        }
        // The limit is far below the largest timeout in milliseconds of the server and the range of this
        // machine's clocks.
        for (key, value) in [
            ("amqp.confirm_timeout", amqp.confirm_timeout),
            ("amqp.connect_timeout", amqp.connect_timeout),
            ("capture.poll_shortest", capture.poll_shortest),
            ("capture.poll_longest", capture.poll_longest),
            ("publish.retry_first", publish.retry_first),
            ("publish.retry_longest", publish.retry_longest),
            ("publish.checkpoint_interval", publish.checkpoint_interval),
            ("lease.timeout", lease.timeout),
            ("lease.drain_timeout", lease.drain_timeout),
            ("retention.check_interval", retention.check_interval),
        ] {
            let shown = humantime::format_duration(value);
            within(value <= 7 * DAY, key, shown, "at most 7days")?;
        }
        // The limit keeps times within the range of PostgreSQL's timestamps.
        for (key, value) in [
            ("retention.keep", retention.keep),
            ("retention.segment_age", retention.segment_age),
        ] {
            let shown = humantime::format_duration(value);
            within(value <= 36_500 * DAY, key, shown, "at most 36500days")?;
        }
        let keep = retention.keep;
        let shown = humantime::format_duration(keep);
        // A segment's leaf is emptied when the sixteenth segment after it begins.
        let fits = keep < retention.segment_age.saturating_mul(15);
        let range = "less than fifteen times retention.segment_age: the ring has sixteen segments";
        within(fits, "retention.keep", shown, range)
    }
}

/// Returns an error unless the value is within its range.
fn within(
    is_within: bool,
    key: &'static str,
    value: impl Display,
    range: &'static str,
) -> Result<(), ConfigError> {
    if is_within {
        return Ok(());
    }
    let value = value.to_string();
    Err(ConfigError::OutOfRange { key, value, range })
}
