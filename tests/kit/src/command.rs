//! The relay's commands, run to their end.

use std::process::Stdio;

use tokio::{process::Command, time::timeout};

use crate::{DEADLINE, binary};

/// Output and status of a program that ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error: logs, and the error if there is one.
    pub stderr: String,
}

impl Ended {
    /// The one line that says what went wrong.
    ///
    /// # Panics
    /// Panics if the program succeeded, or if standard error ends with anything but one line that
    /// begins with `error:`.
    pub fn error(&self) -> &str {
        assert!(self.code.is_some_and(|code| code != 0), "{self:?}");
        // Logs are lines that begin with their time.
        let said: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| !line.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        let [line] = said[..] else {
            panic!("not one line: {self:#?}");
        };
        assert!(line.starts_with("error: "), "{line}");
        line
    }

    /// Standard output of a program that succeeded.
    pub fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:#?}");
        &self.stdout
    }

    /// Standard output of a program that succeeded, as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.succeeded()).expect("JSON")
    }
}

/// Runs `relay` with arguments and nothing but these environment variables.
pub async fn relay<E: AsRef<str>>(arguments: &[&str], environment: &[(E, E)]) -> Ended {
    run(arguments, environment, Stdio::piped()).await
}

/// Runs a command whose output is not read: the pipe is closed at once.
pub async fn relay_unread<E: AsRef<str>>(arguments: &[&str], environment: &[(E, E)]) -> Ended {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    run(arguments, environment, writer.into()).await
}

async fn run<E: AsRef<str>>(arguments: &[&str], environment: &[(E, E)], stdout: Stdio) -> Ended {
    let environment = environment.iter().map(|(k, v)| (k.as_ref(), v.as_ref()));
    let ended = Command::new(binary("relay"))
        .args(arguments)
        .env_clear()
        // Any port will do unless the test says which.
        .env("POSTROOM_ADMIN_LISTEN", "127.0.0.1:0")
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("starting the relay; build it first: cargo build -p postroom-relay")
        .wait_with_output();
    let ended = timeout(DEADLINE, ended)
        .await
        .expect("the relay ends")
        .expect("what it printed");
    Ended {
        code: ended.status.code(),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}
