//! HTTP server for health and metrics.

mod limited_listener;

use std::net::SocketAddr;

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{error::RelayError, health::Health};
use limited_listener::LimitedListener;

/// Serves `/health/live`, `/health/ready` and `/metrics`.
pub(crate) async fn serve(
    address: SocketAddr,
    health: watch::Receiver<Health>,
    metrics: PrometheusHandle,
) -> Result<JoinHandle<()>, RelayError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RelayError::Listen { address, source })?;
    let router = Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(move || async move { ready(&health) }))
        .route("/metrics", get(move || async move { render(&metrics) }));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(LimitedListener::new(listener), router).await {
            tracing::error!("health and metrics are no longer served: {error}");
        }
    }))
}

fn ready(health: &watch::Receiver<Health>) -> impl IntoResponse + use<> {
    let health = health.borrow().clone();
    let status = if health.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::to_string(&health).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

fn render(metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        metrics.render(),
    )
}
