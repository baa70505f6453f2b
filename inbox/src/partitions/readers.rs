//! The streams of the partitions that a member reads.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    events,
    intake::{BrokerError, Intake, Markers, PartitionQueue, RabbitMq, Stream, Subscribed},
    layout::Partition,
};

/// A partition that is read.
#[derive(Debug)]
struct Reader {
    /// Cancelled to release the partition.
    stop: CancellationToken,
    markers: Markers,
    subscribed: Subscribed,
}

/// The partitions that are read, each by a stream of its own. The streams share the consumer's workers.
#[derive(Debug)]
pub(super) struct Readers {
    broker: RabbitMq,
    intake: Intake,
    by_partition: BTreeMap<Partition, Reader>,
    streams: JoinSet<(Partition, Result<(), BrokerError>)>,
}

impl Readers {
    pub(super) fn new(broker: RabbitMq, intake: Intake) -> Self {
        Self {
            broker,
            intake: intake.for_one_of_several(),
            by_partition: BTreeMap::new(),
            streams: JoinSet::new(),
        }
    }

    /// Begins to read a partition, until `stop` is cancelled or the partition released.
    pub(super) fn start(&mut self, partition: Partition, stop: &CancellationToken) {
        let reader = Reader {
            stop: stop.child_token(),
            markers: Markers::default(),
            subscribed: Subscribed::default(),
        };
        let (markers, subscribed) = (reader.markers.clone(), reader.subscribed.clone());
        let queue = PartitionQueue::new(self.broker.clone(), partition, markers, subscribed);
        let stream = Stream::new(queue, &self.intake);
        let stop = reader.stop.clone();
        self.by_partition.insert(partition, reader);
        self.streams
            .spawn(async move { (partition, stream.run(&stop).await) });
        events::PartitionTaken {
            consumer: self.broker.consumer(),
            queue: &self.broker.topology().queue_of(partition),
            held: self.by_partition.len(),
        }
        .emit();
    }

    /// Begins to release a partition: its running deliveries end, then its subscription.
    pub(super) fn release(&self, partition: Partition) {
        if let Some(reader) = self.by_partition.get(&partition) {
            reader.stop.cancel();
        }
    }

    /// Begins to release all partitions.
    pub(super) fn release_all(&self) {
        for reader in self.by_partition.values() {
            reader.stop.cancel();
        }
    }

    /// Returns the partitions that are being released.
    pub(super) fn releasing(&self) -> BTreeSet<Partition> {
        let readers = self.by_partition.iter();
        let releasing = readers.filter(|(_, reader)| reader.stop.is_cancelled());
        releasing.map(|(&partition, _)| partition).collect()
    }

    /// Returns the number of partitions that are read.
    pub(super) fn held(&self) -> usize {
        self.by_partition.len()
    }

    /// Returns the reason why a partition has no subscription; `None` if all have one.
    pub(super) fn problem(&self) -> Option<String> {
        let mut readers = self.by_partition.values();
        readers.find_map(|reader| reader.subscribed.problem())
    }

    /// Returns the markers of each partition that is read.
    pub(super) fn markers(&self) -> impl Iterator<Item = (Partition, &Markers)> {
        let readers = self.by_partition.iter();
        readers.map(|(&partition, reader)| (partition, &reader.markers))
    }

    /// Waits until the stream of a partition has ended; `None` if none is read. Cancel safe.
    ///
    /// # Errors
    /// Returns the broker's refusal, which ended the stream.
    pub(super) async fn ended(&mut self) -> Option<Result<Partition, BrokerError>> {
        let (partition, ended) = match self.streams.join_next().await? {
            Ok(ended) => ended,
            // A panic in this crate: the consumer must not go on.
            Err(panicked) => match panicked.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return None,
            },
        };
        self.by_partition.remove(&partition);
        events::PartitionReleased {
            consumer: self.broker.consumer(),
            queue: &self.broker.topology().queue_of(partition),
            held: self.by_partition.len(),
        }
        .emit();
        Some(ended.map(|()| partition))
    }
}
