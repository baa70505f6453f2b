//! `relay check`.

mod broker;
mod database;
pub(crate) mod privileges;

use std::process::ExitCode;

use serde::Serialize;

use super::source::{Source, hint, say};
use crate::error::chain;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

pub(super) async fn run(source: &Source, json: bool) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    config.database_url()?;
    config.amqp_url()?;
    for doubt in Source::doubts() {
        hint(format!("warning: {doubt}"))?;
    }
    let mut findings = Vec::new();
    database::check(&config, &mut findings).await;
    broker::check(&config, &mut findings).await;
    let ok = findings.iter().all(|finding| finding.ok);
    if json {
        say(serde_json::to_string_pretty(&findings)?)?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok    " } else { "FAILED" };
            say(format!("{mark}  {:<20} {}", finding.what, finding.detail))?;
        }
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Notes a result; tells whether to look further.
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
    findings.push(Finding { what, ok, detail });
    result.ok()
}
