//! Logging to standard error.

use std::{
    backtrace::Backtrace,
    io::IsTerminal as _,
    panic::{self, PanicHookInfo},
};

use anyhow::Context as _;
use tracing::error;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Log, LogFormat};

/// Writes logs and panics to standard error as configured.
///
/// The AMQP client's logs are turned off: it logs every returned message with its body, and every lost connection a
/// second time.
pub(super) fn init(log: &Log) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&log.filter)
        .with_context(|| format!("configuration log.filter = {:?}", log.filter))?;
    for target in amqp::LOG_TARGETS {
        filter = filter.add_directive(format!("{target}=off").parse()?);
    }
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry
                .with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi))
                .try_init()?;
        }
        LogFormat::Json => {
            registry
                .with(fmt::layer().json().with_writer(std::io::stderr))
                .try_init()?;
        }
    }
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Logs a panic. A panic ends only its task, and the code that awaits the task learns no reason. The reason
/// is a log line, because a collector of JSON logs would not read any other text.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    error!(
        thread = thread.name(),
        at = panic.location().map(tracing::field::display),
        // Captured only with RUST_BACKTRACE=1.
        backtrace = %Backtrace::capture(),
        "panicked, please report this: {}",
        panic.payload_as_str().unwrap_or("no message")
    );
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        panic::{catch_unwind, set_hook, take_hook},
        sync::{Arc, Mutex, PoisonError},
    };

    use tracing_subscriber::fmt;

    use super::log_panic;

    /// Buffer of the written log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            io::Write::write(&mut *lines, bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = fmt().json().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let before = take_hook();
            set_hook(Box::new(log_panic));
            let panicked = catch_unwind(|| panic!("no {}", "way"));
            set_hook(before);
            assert!(panicked.is_err());
        });
        let lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line: serde_json::Value = serde_json::from_slice(&lines).expect("one line of JSON");
        let fields = &line["fields"];
        assert_eq!(fields["message"], "panicked, please report this: no way");
        let at = fields["at"].as_str().unwrap_or_default();
        assert!(at.contains("logs.rs:"), "{fields}");
    }
}
