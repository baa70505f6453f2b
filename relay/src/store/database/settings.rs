//! Purposes of database connections, and the session settings that each purpose needs.

use std::time::Duration;

/// Value of `client_min_messages`: the server reports a cancelled wait for a standby only as a warning.
pub(super) const MESSAGES: &str = "warning";

/// Value of `search_path`. Other roles cannot create objects in these schemas, so statements use the functions,
/// operators and types of `pg_catalog`, whatever path the role or the database has. Statements qualify Postroom's own
/// objects.
pub(crate) const SEARCH_PATH: &str = "pg_catalog, pg_temp";

/// Purpose of a connection, which determines its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Holds the lease and records everything. The server ends the session if the relay is silent for too long.
    Lease {
        /// Silence after which the server ends the session.
        timeout: Duration,
    },
    /// Reads frames: few statements, very often. Plans are kept, because planning takes longer than running.
    Frames,
    /// Reads everything else.
    Reader,
    /// Serves one command of an operator. Waits for locks are limited, so that the operator learns of them.
    Command,
}

impl Purpose {
    /// Value of `plan_cache_mode`.
    pub(super) const fn plans(self) -> &'static str {
        match self {
            Self::Frames => "force_generic_plan",
            Self::Lease { .. } | Self::Reader | Self::Command => "force_custom_plan",
        }
    }
}

/// Settings sent with the start-up packet, which a transaction pooler refuses.
pub(crate) fn settings(purpose: Purpose) -> Vec<(&'static str, String)> {
    // Plans must not depend on statistics: a plan made for an empty table would scan a full one.
    let mut settings: Vec<(&'static str, String)> = [
        ("plan_cache_mode", purpose.plans()),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("enable_sort", "off"),
        ("jit", "off"),
        ("default_transaction_isolation", "read committed"),
        ("max_parallel_workers_per_gather", "0"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        // A policy would hide rows silently, and the relay would skip them. With `off` the statement fails.
        ("row_security", "off"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "10000"),
        ("client_min_messages", MESSAGES),
        ("search_path", SEARCH_PATH),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    let silence = silence_allowed(purpose);
    if let Purpose::Lease { .. } = purpose {
        settings.push(("synchronous_commit", "on".to_owned()));
        settings.push(("tcp_user_timeout", silence.clone()));
    }
    if purpose == Purpose::Command {
        // As `server::LIMIT_LOCK_WAIT` for commands that use a session for the lease.
        settings.push(("lock_timeout", "10000".to_owned()));
    }
    settings.push(("idle_session_timeout", silence));
    settings
}

/// Milliseconds of silence after which the server ends a session, or 0.
pub(super) fn silence_allowed(purpose: Purpose) -> String {
    match purpose {
        Purpose::Lease { timeout } => timeout.as_millis().to_string(),
        Purpose::Frames | Purpose::Reader | Purpose::Command => "0".to_owned(),
    }
}
