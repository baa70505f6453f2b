//! Connects to the first server that is of the kind asked for.

use std::{fmt, time::Duration};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{DatabaseAddress, Server, TargetSession};

/// Error of one attempt to connect to one server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The server cannot be reached, or refuses the connection.
    #[error("{0}")]
    Refused(#[from] sqlx::Error),
    /// The server does not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server is another kind of server than asked for.
    #[error("{0}")]
    Unfit(&'static str),
}

/// Error of connecting to a database: the cause for each of its servers.
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<(String, AttemptError)>,
}

impl ConnectError {
    /// Returns the attempts, each with its server's host and port; never empty.
    pub fn attempts(&self) -> impl Iterator<Item = (&str, &AttemptError)> {
        let attempts = self.attempts.iter();
        attempts.map(|(server, error)| (server.as_str(), error))
    }

    /// Returns the error of the only attempt.
    ///
    /// # Errors
    /// Returns this error back if there were several attempts.
    pub fn into_single(mut self) -> Result<AttemptError, Self> {
        match self.attempts.pop() {
            Some((_, error)) if self.attempts.is_empty() => Ok(error),
            Some(last) => {
                self.attempts.push(last);
                Err(self)
            }
            None => Err(self),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (server, error)) in self.attempts.iter().enumerate() {
            let separator = if number > 0 { "; " } else { "" };
            write!(f, "{separator}{server}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

impl DatabaseAddress {
    /// Connects to the first server, in the URL's order, that is of the kind asked for.
    ///
    /// Each attempt takes `longest` at most, and at most the URL's `connect_timeout`. `adjust` may change a server's
    /// options.
    ///
    /// # Errors
    /// Fails if no server can be used, with the cause for each.
    pub async fn connect(
        &self,
        longest: Duration,
        adjust: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> Result<(PgConnection, &Server), ConnectError> {
        let limit = self.connect_timeout().unwrap_or(longest).min(longest);
        let mut attempts = Vec::new();
        for target in self.target().passes() {
            attempts.clear();
            for server in self.servers() {
                let attempt = timeout(limit, attempt(server, *target, &adjust)).await;
                match attempt.unwrap_or(Err(AttemptError::TimedOut(limit))) {
                    Ok(connection) => return Ok((connection, server)),
                    Err(error) => attempts.push((server.to_string(), error)),
                }
            }
        }
        Err(ConnectError { attempts })
    }
}

async fn attempt(
    server: &Server,
    target: TargetSession,
    adjust: impl Fn(PgConnectOptions) -> PgConnectOptions,
) -> Result<PgConnection, AttemptError> {
    let options = adjust(server.options()?);
    let mut connection = PgConnection::connect_with(&options).await?;
    match target.check(&mut connection).await? {
        Ok(()) => Ok(connection),
        Err(reason) => {
            let _ = connection.close().await;
            Err(AttemptError::Unfit(reason))
        }
    }
}
