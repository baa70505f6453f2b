//! `relay check`.

use std::process::ExitCode;

use super::config_args::{ConfigArgs, hint, say};
use crate::admin::check::{self, Finding};

pub(super) async fn run(source: &ConfigArgs, json: bool) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    config.database_url()?;
    config.amqp_url()?;
    for problem in ConfigArgs::unknown_variables() {
        hint(format!("warning: {problem}"))?;
    }
    let findings = check::check(&config).await;
    if json {
        say(serde_json::to_string_pretty(&findings)?)?;
    } else {
        for finding in &findings {
            let mark = mark(finding);
            say(format!("{mark}  {:<20} {}", finding.what, finding.detail))?;
        }
    }
    Ok(if findings.iter().all(|finding| finding.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const fn mark(finding: &Finding) -> &'static str {
    match (finding.ok, finding.warning) {
        (true, false) => "ok    ",
        (true, true) => "WARN  ",
        (false, _) => "FAILED",
    }
}
