//! What values may be.

use std::time::Duration;

use super::{Config, ConfigError};

impl Config {
    /// Refuses what would do harm.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let out_of_range =
            |key, value: String, range| ConfigError::OutOfRange { key, value, range };
        let duration = |value: Duration| humantime::format_duration(value).to_string();
        if self.lease.timeout < Duration::from_secs(1) {
            return Err(out_of_range(
                "lease.timeout",
                duration(self.lease.timeout),
                "at least 1s",
            ));
        }
        let counts = [
            ("amqp.channels", self.amqp.channels, 1, 64, "1 to 64"),
            ("amqp.batch", self.amqp.batch, 1, 10_000, "1 to 10000"),
            (
                "capture.page_rows",
                self.capture.page_rows as usize,
                1,
                100_000,
                "1 to 100000",
            ),
            (
                "capture.page_bytes",
                self.capture.page_bytes as usize,
                1 << 10,
                1 << 30,
                "1024 to 1073741824",
            ),
            (
                "publish.window_rows",
                self.publish.window_rows,
                1,
                1_000_000,
                "1 to 1000000",
            ),
            (
                "publish.window_bytes",
                self.publish.window_bytes,
                1,
                1 << 40,
                "at least 1",
            ),
            (
                "publish.key_rows",
                self.publish.key_rows,
                1,
                1_000_000,
                "1 to 1000000",
            ),
        ];
        for (key, value, least, most, range) in counts {
            if value < least || value > most {
                return Err(out_of_range(key, value.to_string(), range));
            }
        }
        if self.capture.poll_shortest < Duration::from_micros(100) {
            let value = duration(self.capture.poll_shortest);
            return Err(out_of_range(
                "capture.poll_shortest",
                value,
                "at least 100us",
            ));
        }
        if self.capture.poll_shortest > self.capture.poll_longest {
            let value = duration(self.capture.poll_shortest);
            return Err(out_of_range(
                "capture.poll_shortest",
                value,
                "at most poll_longest",
            ));
        }
        for (key, name) in [
            ("amqp.exchange", &self.amqp.exchange),
            ("amqp.source", &self.amqp.source),
        ] {
            if name.is_empty() || name.len() > 255 {
                return Err(out_of_range(
                    key,
                    format!("{name:?}"),
                    "1 to 255 bytes long",
                ));
            }
        }
        Ok(())
    }
}
