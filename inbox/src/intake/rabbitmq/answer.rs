//! Waits for the broker's answers, with a time limit.

use std::{future::Future, io, time::Duration};

use super::refusal::Failure;

/// Longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(15);

/// Waits for the broker's answer for at most [`ANSWER`]; `doing` names the request in the error.
pub(super) async fn answer<T>(
    doing: &'static str,
    answer: impl Future<Output = Result<T, amqp::Error>>,
) -> Result<T, Failure> {
    let answered = tokio::time::timeout(ANSWER, answer).await;
    answered
        .unwrap_or_else(|_| {
            let text = format!("the broker gave no answer within {ANSWER:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
        })
        .map_err(|error| Failure::new(doing, error))
}
