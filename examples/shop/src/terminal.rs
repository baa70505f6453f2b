//! Output to the terminal.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

/// Prints a line of a result. A closed pipe (`head`) is no error.
pub fn print(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line about the progress to standard error.
pub fn print_progress(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Returns the exit code of a program, after printing an error with its causes on one line.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with its causes, each once.
pub fn print_error(error: &anyhow::Error) {
    let red = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let label = if red {
        "\x1b[31merror:\x1b[0m"
    } else {
        "error:"
    };
    print_progress(format!("{label} {}", with_causes(error)));
}

fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Formats a number with a comma after every three digits.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// Formats cents as dollars.
pub fn dollars(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!(
        "{sign}${}.{:02}",
        thousands((cents / 100) as i64),
        cents % 100
    )
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::{dollars, thousands, with_causes};

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(-1_000), "-1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn cents_are_dollars() {
        assert_eq!(dollars(250_031_563), "$2,500,315.63");
        assert_eq!(dollars(-5), "-$0.05");
    }

    #[test]
    fn causes_follow_once() {
        let inner: anyhow::Result<()> = Err(anyhow!("disk on fire"));
        let error = inner.context("reading").unwrap_err();
        assert_eq!(with_causes(&error), "reading: disk on fire");
    }
}
