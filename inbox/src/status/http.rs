//! Health checks over HTTP.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde::Serialize;

use super::{ConsumerState, ConsumerStatus, StatusReport};

#[derive(Debug, Serialize)]
struct Answer {
    consumers: Vec<StatusReport>,
}

/// Returns a router with the health checks of a process' consumers, to be merged into the service's own.
///
/// | Path | Answers 200 while | And 503 |
/// |---|---|---|
/// | `/live` | no consumer has failed | once one has: start the process again |
/// | `/ready` | every consumer is [ready](StatusReport::is_ready) | while one waits, or has ended |
///
/// The body is JSON: `{"consumers": […]}`, each a [`StatusReport`] with its problem in words. The reports name hosts
/// and errors, so serve them where operators look, not to the public.
///
/// ```
/// # fn f(consumer: &inbox::Consumer) -> axum::Router {
/// let api = axum::Router::new();
/// api.merge(inbox::health_router([consumer.status()]))
/// # }
/// ```
pub fn health_router(consumers: impl IntoIterator<Item = ConsumerStatus>) -> Router {
    let live: Vec<ConsumerStatus> = consumers.into_iter().collect();
    let ready = live.clone();
    Router::new()
        .route(
            "/live",
            get(async move || answer(&live, |report| report.state != ConsumerState::Failed)),
        )
        .route(
            "/ready",
            get(async move || answer(&ready, |report| report.is_ready)),
        )
}

fn answer(
    consumers: &[ConsumerStatus],
    is_well: impl Fn(&StatusReport) -> bool,
) -> (StatusCode, Json<Answer>) {
    let consumers: Vec<_> = consumers.iter().map(ConsumerStatus::report).collect();
    let status = if consumers.iter().all(is_well) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Answer { consumers }))
}
