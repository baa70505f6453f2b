//! List of all figures.

mod backlog;
mod consume;
mod handled;
mod idle;
pub(crate) mod latency;
mod partitions;
mod publish;
mod throughput;
mod upkeep;
mod waiting;

use futures_util::future::LocalBoxFuture;

use crate::{Bench, figure::Figure};

/// Figures that are measured together.
pub(crate) struct Group {
    pub(crate) names: &'static [&'static str],
    pub(crate) measure: fn(&Bench) -> LocalBoxFuture<'_, anyhow::Result<Vec<Figure>>>,
}

/// All groups, in the order in which they are measured.
pub(crate) const ALL: &[Group] = &[
    Group {
        names: &[
            "drain_vs_lapin",
            "drain_vs_broker",
            "relay_cpu_us_per_message",
        ],
        measure: |bench| Box::pin(throughput::relay(bench)),
    },
    Group {
        names: &["drain_vs_lapin_apart", "drain_vs_broker_apart"],
        measure: |bench| Box::pin(throughput::split(bench)),
    },
    Group {
        names: &[
            "drain_10_keys_vs_unkeyed",
            "drain_1000_keys_vs_unkeyed",
            "drain_100000_keys_vs_unkeyed",
        ],
        measure: |bench| Box::pin(throughput::keys(bench)),
    },
    Group {
        names: &[
            "backlog_1m_vs_100k",
            "backlog_10m_vs_100k",
            "relay_peak_rss_mb",
        ],
        measure: |bench| Box::pin(backlog::backlog(bench)),
    },
    Group {
        names: &["relay_peak_rss_mb_large_bodies"],
        measure: |bench| Box::pin(backlog::large_bodies(bench)),
    },
    Group {
        names: &["pinned_vs_unpinned", "pinned_idle_cpu_vs_unpinned"],
        measure: |bench| Box::pin(backlog::pinned(bench)),
    },
    Group {
        names: &[
            "commit_to_queue_p50_vs_inline_100_per_s",
            "commit_to_queue_p99_vs_inline_100_per_s",
            "commit_to_queue_p50_vs_inline_1000_per_s",
            "commit_to_queue_p99_vs_inline_1000_per_s",
            "commit_to_queue_p50_vs_inline_5000_per_s",
            "commit_to_queue_p99_vs_inline_5000_per_s",
        ],
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
        names: &[
            "publish_vs_bare_insert_1",
            "publish_vs_bare_insert_4",
            "publish_vs_bare_insert_16",
            "publish_all_100_vs_1",
        ],
        measure: |bench| Box::pin(publish::publish(bench)),
    },
    Group {
        names: &["slowest_publish_with_rotation_and_expiry_vs_without"],
        measure: |bench| Box::pin(upkeep::upkeep(bench)),
    },
    Group {
        names: &["dedup_vs_bare_handler"],
        measure: |bench| Box::pin(consume::dedup(bench)),
    },
    Group {
        names: &["idempotency_key_vs_id"],
        measure: |bench| Box::pin(consume::keyed(bench)),
    },
    Group {
        names: &["batch_vs_single", "transparent_batching_vs_single"],
        measure: |bench| Box::pin(consume::batches(bench)),
    },
    Group {
        names: &["partitions_4_vs_1"],
        measure: |bench| Box::pin(partitions::partitions(bench)),
    },
    Group {
        names: &["dedup_1m_vs_empty", "dedup_10m_vs_empty"],
        measure: |bench| Box::pin(consume::full(bench)),
    },
    Group {
        names: &["handler_with_state_vs_closure"],
        measure: |bench| Box::pin(consume::with_state(bench)),
    },
    Group {
        names: &["wait_for_1000"],
        measure: |bench| Box::pin(waiting::waits(bench)),
    },
    Group {
        names: &["request_reply_p50", "request_reply_p99"],
        measure: |bench| Box::pin(waiting::requests(bench)),
    },
    Group {
        names: &[
            "commit_to_handled_p50_vs_bare",
            "commit_to_handled_p99_vs_bare",
            "commit_to_handled_p99_ms",
        ],
        measure: |bench| Box::pin(handled::handled(bench)),
    },
];
