//! Resource use of a process, read from /proc (proc(5)).

use std::fs;

use anyhow::Context as _;

/// Kernel ticks per second, the same on every Linux system.
const TICKS: f64 = 100.0;

/// Returns the processor time, user and system, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process' times")?;
    // The fields follow the name in parentheses, which may hold any character.
    let (_, fields) = stat.rsplit_once(')').context("a stat of an unknown form")?;
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / TICKS)
}

/// Returns the peak resident memory, in MiB.
pub(crate) fn peak_rss_mb(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("a status of an unknown form")? / 1024.0)
}
