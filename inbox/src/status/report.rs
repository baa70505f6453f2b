//! The state of a consumer at one moment, as data.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

/// State of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsumerState {
    /// `run` has not been called yet.
    Created,
    /// Waits until the database can be used.
    WaitingForDatabase,
    /// Connects to the broker, or waits for the next attempt to connect.
    WaitingForBroker,
    /// Connected; waits until a relay or an administrator declares the exchange.
    WaitingForExchange,
    /// Subscribed, while the broker served another process, and the broker has delivered nothing here since: with a single
    /// active consumer this process waits for its turn. If the other process is gone and no message comes, the state
    /// stays. With partitions: this process reads none of them.
    StandingBy,
    /// Subscribed: deliveries come here.
    Subscribed,
    /// Finishes running handlers after a stop.
    Stopping,
    /// Stopped, as asked.
    Stopped,
    /// Ended by an error that an operator has to mend; or the future of `run` was dropped.
    Failed,
}

impl ConsumerState {
    /// Returns the name in JSON, such as `standing_by`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::WaitingForDatabase => "waiting_for_database",
            Self::WaitingForBroker => "waiting_for_broker",
            Self::WaitingForExchange => "waiting_for_exchange",
            Self::StandingBy => "standing_by",
            Self::Subscribed => "subscribed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Created => "has not been started",
            Self::WaitingForDatabase => "waits for the database",
            Self::WaitingForBroker => "waits for the broker",
            Self::WaitingForExchange => "waits for the exchange",
            Self::StandingBy => "stands by, another process is served",
            Self::Subscribed => "is subscribed",
            Self::Stopping => "finishes its handlers",
            Self::Stopped => "has stopped",
            Self::Failed => "has failed",
        }
    }
}

/// The state of a consumer at one moment. `Display` says it in one line, `Serialize` as JSON with times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusReport {
    /// Name of the consumer.
    pub consumer: String,
    /// Name of the queue, or of another source.
    pub queue: String,
    /// State of the consumer.
    pub state: ConsumerState,
    /// `true` if the consumer handles messages, or stands by to do so: subscribed, and the database was usable at the
    /// last attempt.
    pub is_ready: bool,
    /// Time since the state began.
    #[serde(serialize_with = "seconds")]
    pub since: Duration,
    /// Time since the last delivery came from the broker; `None` if none has come.
    #[serde(serialize_with = "optional_seconds")]
    pub last_delivery: Option<Duration>,
    /// Number of deliveries that are being handled.
    pub in_flight: usize,
    /// The problem that keeps the consumer from working, with its cause; `None` without one.
    pub problem: Option<String>,
}

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.as_secs();
        write!(
            f,
            "consumer {:?} {} (queue {:?}, for {since} s); ",
            self.consumer,
            self.state.in_words(),
            self.queue
        )?;
        match self.last_delivery {
            Some(ago) => write!(f, "last delivery {} s ago", ago.as_secs())?,
            None => f.write_str("no delivery yet")?,
        }
        write!(f, "; {} in flight", self.in_flight)?;
        match &self.problem {
            Some(problem) => write!(f, "; problem: {problem}"),
            None => Ok(()),
        }
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "serde passes the field so")]
fn optional_seconds<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{ConsumerState, StatusReport};

    #[test]
    fn a_report_is_one_line_and_plain_json() {
        let report = StatusReport {
            consumer: "billing".into(),
            queue: "billing".into(),
            state: ConsumerState::WaitingForDatabase,
            is_ready: false,
            since: Duration::from_millis(1_500),
            last_delivery: None,
            in_flight: 0,
            problem: Some("connection refused".into()),
        };
        assert_eq!(
            report.to_string(),
            "consumer \"billing\" waits for the database (queue \"billing\", for 1 s); no delivery yet; \
             0 in flight; problem: connection refused"
        );
        let expected = json!({
            "consumer": "billing", "queue": "billing", "state": "waiting_for_database", "is_ready": false,
            "since": 1.5, "last_delivery": null, "in_flight": 0, "problem": "connection refused",
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
        assert_eq!(json!(report.state), report.state.as_str());
    }
}
