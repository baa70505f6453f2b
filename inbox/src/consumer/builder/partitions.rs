//! The setting of partitions.

use crate::{BuildError, ConsumerBuilder, intake::longest_name, layout::Layout};

/// Longest name in bytes that an AMQP short string can hold.
const NAME_BYTES: usize = 255;

impl<S> ConsumerBuilder<S> {
    /// Spreads the messages over a number of queues, 1 to 64, which the processes of the consumer share evenly. By default
    /// there is one queue, and one process at a time handles its messages.
    ///
    /// Messages of one key are in one queue, and are handled in order: each queue has a single active consumer. A process
    /// takes over the queues of a process that ends, and gives some to a process that starts. All processes should have
    /// the same number. To change it, deploy the new number: once no process with the old number is left, new queues are
    /// bound, the old ones are read to their ends, and then the new ones are read, so that keys keep their order.
    ///
    /// Choose a number that processes will share evenly, such as 12 or 24, and at least as large as the number of
    /// processes. [`workers`](Self::workers) limits the process as a whole, [`prefetch`](Self::prefetch) each queue. Each
    /// queue that a process reads costs a connection to the broker. The consumer opens one more connection to the
    /// database, with the pool's options and without its hooks, which holds its locks and cannot go through a pooler. Upgrade the relays first, since messages of earlier
    /// relays all go to the first queue. docs/guides/scaling.md says more. [`Consumer::run_over`](crate::Consumer::run_over)
    /// ignores the setting.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Partitions`] for another number, [`BuildError::PartitionsShared`] beside
    /// [`single_active_consumer(false)`](Self::single_active_consumer), and [`BuildError::PartitionName`] for a queue's
    /// name of more than 232 bytes.
    pub fn partitions(mut self, partitions: u8) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Returns the layout of the queues that the settings ask for.
    pub(super) fn layout(&self) -> Result<Layout, BuildError> {
        let Some(partitions) = self.partitions else {
            return Ok(Layout::PLAIN);
        };
        let consumer = || self.name.clone();
        let layout = Layout::partitioned(partitions).ok_or_else(|| BuildError::Partitions {
            consumer: consumer(),
            partitions,
        })?;
        if !self.topology.single_active_consumer {
            return Err(BuildError::PartitionsShared {
                consumer: consumer(),
            });
        }
        let queue = &self.topology.queue;
        let longest = longest_name(queue);
        if longest.len() > NAME_BYTES {
            return Err(BuildError::PartitionName {
                consumer: consumer(),
                queue: queue.clone(),
                longest,
            });
        }
        Ok(layout)
    }
}
