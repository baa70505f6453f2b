//! `relay check`: checks configuration, database and broker, and prints the findings.

mod broker;
mod database;
mod fence;
pub(crate) mod foreign;
pub(crate) mod privileges;

use std::process::ExitCode;

use serde::Serialize;

use postroom_message::errors::chain;

use super::config_args::{ConfigArgs, hint, say};

/// Result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    /// `true` for a risk that does not keep a relay from working.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warning: bool,
    detail: String,
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

    fn mark(&self) -> &'static str {
        match (self.ok, self.warning) {
            (true, false) => "ok    ",
            (true, true) => "WARN  ",
            (false, _) => "FAILED",
        }
    }
}

pub(super) async fn run(source: &ConfigArgs, json: bool) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    config.database_url()?;
    config.amqp_url()?;
    for problem in ConfigArgs::unknown_variables() {
        hint(format!("warning: {problem}"))?;
    }
    let mut findings = Vec::new();
    let identity = database::check(&config, &mut findings).await;
    broker::check(&config, identity, &mut findings).await;
    let ok = findings.iter().all(|finding| finding.ok);
    if json {
        say(serde_json::to_string_pretty(&findings)?)?;
    } else {
        for finding in &findings {
            let mark = finding.mark();
            say(format!("{mark}  {:<20} {}", finding.what, finding.detail))?;
        }
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Adds a result to the findings; returns its value if it is not an error.
fn note<T, E: std::error::Error>(
    findings: &mut Vec<Finding>,
    what: &'static str,
    result: Result<T, E>,
    detail: impl FnOnce(&T) -> String,
) -> Option<T> {
    let (ok, detail) = match &result {
        Ok(value) => (true, detail(value)),
        Err(error) => (false, chain(error)),
    };
    findings.push(Finding::new(what, ok, detail));
    result.ok()
}
