//! Check of everything that a relay needs: configuration, database and broker.

mod broker;
mod database;
mod fence;

use postroom_message::errors::chain;
use serde::Serialize;

use crate::config::Config;

/// Result of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    pub(crate) ok: bool,
    /// `true` for a risk that does not keep a relay from working.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) warning: bool,
    pub(crate) detail: String,
}

impl Finding {
    fn new(what: &'static str, ok: bool, detail: String) -> Self {
        Self {
            what,
            ok,
            warning: false,
            detail,
        }
    }

    fn warning(what: &'static str, detail: String) -> Self {
        Self {
            warning: true,
            ..Self::new(what, true, detail)
        }
    }
}

/// Checks one thing after another; a failure ends the checks that depend on it.
pub(crate) async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let identity = database::check(config, &mut findings).await;
    broker::check(config, identity, &mut findings).await;
    findings
}

/// Adds a result to the findings, with a detail for its success; returns its value if it is not an error.
fn note<T, E: std::error::Error>(
    findings: &mut Vec<Finding>,
    what: &'static str,
    result: Result<T, E>,
    detail: impl Into<String>,
) -> Option<T> {
    let (ok, detail) = match &result {
        Ok(_) => (true, detail.into()),
        Err(error) => (false, chain(error)),
    };
    findings.push(Finding::new(what, ok, detail));
    result.ok()
}
