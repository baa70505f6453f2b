//! Layouts: the queues of a consumer, and the slots of messages that each queue receives.

use postroom_message::Slot;

/// The way in which the messages of a consumer are divided into queues.
///
/// The plain layout has one queue, with the name that the consumer's settings give. Any other layout has a number of
/// partitions, each with a queue that receives a contiguous range of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Layout(u8);

impl Layout {
    pub(crate) const PLAIN: Self = Self(0);

    /// Returns the layout with this number of partitions; `None` unless it is 1 to 64.
    pub(crate) fn partitioned(partitions: u8) -> Option<Self> {
        (1..=Slot::COUNT)
            .contains(&partitions)
            .then_some(Self(partitions))
    }

    /// Returns the layout that the database names by a number, 0 for the plain layout.
    pub(crate) fn from_number(number: i16) -> Option<Self> {
        match u8::try_from(number).ok()? {
            0 => Some(Self::PLAIN),
            partitions => Self::partitioned(partitions),
        }
    }

    /// Returns the number of partitions, 0 for the plain layout.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    pub(crate) const fn is_plain(self) -> bool {
        self.0 == 0
    }

    /// Returns the partitions. The plain layout's only one is its queue.
    pub(crate) fn partitions(self) -> impl Iterator<Item = Partition> {
        (0..self.0.max(1)).map(move |number| Partition {
            layout: self,
            number,
        })
    }

    /// Returns a partition by its number.
    pub(crate) fn partition(self, number: u8) -> Option<Partition> {
        self.partitions().nth(usize::from(number))
    }
}

/// One queue of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Partition {
    layout: Layout,
    number: u8,
}

impl Partition {
    pub(crate) const fn layout(self) -> Layout {
        self.layout
    }

    pub(crate) const fn number(self) -> u8 {
        self.number
    }

    /// Returns the slots of the messages that the queue receives; all for the plain queue.
    pub(crate) fn slots(self) -> impl Iterator<Item = Slot> {
        let partitions = u16::from(self.layout.0.max(1));
        let first_of = move |number: u8| u16::from(number) * u16::from(Slot::COUNT) / partitions;
        let (first, end) = (first_of(self.number), first_of(self.number + 1));
        Slot::all()
            .skip(usize::from(first))
            .take(usize::from(end - first))
    }
}

#[cfg(test)]
mod tests {
    use postroom_message::Slot;

    use super::{Layout, Partition};

    #[test]
    fn every_layout_gives_each_slot_to_one_partition_and_none_many_more_than_another() {
        for number in 0..=64_i16 {
            let layout = Layout::from_number(number).unwrap();
            let slots = layout.partitions().flat_map(Partition::slots);
            assert!(slots.eq(Slot::all()), "{layout:?}");
            let sizes: Vec<usize> = layout
                .partitions()
                .map(|partition| partition.slots().count())
                .collect();
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{sizes:?}");
        }
    }

    #[test]
    fn a_layout_has_1_to_64_partitions() {
        assert_eq!(Layout::partitioned(0), None);
        assert_eq!(Layout::partitioned(65), None);
        assert_eq!(Layout::from_number(-1), None);
        assert_eq!(Layout::partitioned(64).unwrap().partitions().count(), 64);
        assert_eq!(Layout::PLAIN.partitions().count(), 1);
        assert_eq!(Layout::PLAIN.partition(1), None);
    }
}
