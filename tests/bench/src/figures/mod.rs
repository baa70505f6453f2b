//! What is measured.

mod backlog;
mod consume;
mod drain;
mod idle;
mod latency;
mod publish;

use futures_util::future::LocalBoxFuture;

use crate::{Bench, figure::Figure};

/// Figures that are measured together.
pub(crate) struct Group {
    pub(crate) names: &'static [&'static str],
    pub(crate) measure: fn(&Bench) -> LocalBoxFuture<'_, anyhow::Result<Vec<Figure>>>,
}

/// Everything, in the order in which it is measured.
pub(crate) const ALL: &[Group] = &[
    Group {
        names: &[
            "drain_vs_lapin",
            "drain_vs_broker",
            "relay_cpu_us_per_message",
        ],
        measure: |bench| Box::pin(drain::straight(bench)),
    },
    Group {
        names: &["drain_unkeyed_vs_keyed"],
        measure: |bench| Box::pin(drain::keys(bench)),
    },
    Group {
        names: &["relay_peak_rss_mb", "backlog_vs_100k"],
        measure: |bench| Box::pin(backlog::backlog(bench)),
    },
    Group {
        names: &["relay_peak_rss_mb_large_bodies"],
        measure: |bench| Box::pin(backlog::large_bodies(bench)),
    },
    Group {
        names: &["pinned_vs_unpinned"],
        measure: |bench| Box::pin(backlog::pinned(bench)),
    },
    Group {
        names: &["commit_to_queue_vs_inline"],
        measure: |bench| Box::pin(latency::inline(bench)),
    },
    Group {
        names: &["idle_queries_per_s", "idle_cpu_percent"],
        measure: |bench| Box::pin(idle::idle(bench)),
    },
    Group {
        names: &["wal_bytes_per_message", "commits_per_message"],
        measure: |bench| Box::pin(idle::share(bench)),
    },
    Group {
        names: &["publish_vs_bare_insert", "publish_all_100_vs_1"],
        measure: |bench| Box::pin(publish::publish(bench)),
    },
    Group {
        names: &["dedup_vs_bare_handler"],
        measure: |bench| Box::pin(consume::dedup(bench)),
    },
    Group {
        names: &["batch_vs_single", "transparent_batching_vs_single"],
        measure: |bench| Box::pin(consume::batches(bench)),
    },
    Group {
        names: &["dedup_full_vs_empty"],
        measure: |bench| Box::pin(consume::full(bench)),
    },
    Group {
        names: &["commit_to_handled_p99_ms"],
        measure: |bench| Box::pin(latency::handled(bench)),
    },
];
