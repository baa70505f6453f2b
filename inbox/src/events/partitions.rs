//! Events of partitions and their layout.

use metrics::{counter, gauge};
use tracing::{info, warn};

/// This process has begun to read a partition.
pub(crate) struct PartitionTaken<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) queue: &'a str,
    /// Number of partitions that the process reads now.
    pub(crate) held: usize,
}

impl PartitionTaken<'_> {
    pub(crate) fn emit(self) {
        info!(
            consumer = self.consumer,
            queue = self.queue,
            held = self.held,
            "this process reads the partition"
        );
        set_held(self.consumer, self.held);
    }
}

/// This process reads a partition no longer.
pub(crate) struct PartitionReleased<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) queue: &'a str,
    /// Number of partitions that the process still reads.
    pub(crate) held: usize,
}

impl PartitionReleased<'_> {
    pub(crate) fn emit(self) {
        info!(
            consumer = self.consumer,
            queue = self.queue,
            held = self.held,
            "this process has released the partition"
        );
        set_held(self.consumer, self.held);
    }
}

fn set_held(consumer: &str, held: usize) {
    gauge!("postroom_inbox_partitions_held", "consumer" => consumer.to_owned()).set(held as f64);
}

/// The session with the locks on partitions was lost; this process has stopped to read its partitions.
pub(crate) struct LocksLost<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a str,
}

impl LocksLost<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            error = self.error,
            "lost the database session with the locks on partitions; released all partitions, and connecting again"
        );
        counter!("postroom_inbox_partition_locks_lost_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The layout of the consumer's queues was made, or a step of a change was taken.
pub(crate) struct LayoutChanged<'a> {
    pub(crate) consumer: &'a str,
    /// Partitions of the new layout; 0 for one queue without partitions.
    pub(crate) partitions: u8,
    pub(crate) step: &'static str,
}

impl LayoutChanged<'_> {
    pub(crate) fn emit(self) {
        info!(
            consumer = self.consumer,
            partitions = self.partitions,
            step = self.step,
            "the layout of the consumer's queues changes"
        );
        counter!("postroom_inbox_layout_steps_total", "consumer" => self.consumer.to_owned(), "step" => self.step)
            .increment(1);
    }
}

/// A change of the layout waits.
pub(crate) struct LayoutWaits<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) reason: &'static str,
}

impl LayoutWaits<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            reason = self.reason,
            "the layout of the consumer's queues is not changed yet; deploy the same setting to all processes"
        );
        counter!("postroom_inbox_layout_waits_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}
