//! How large a page may be.

use crate::{message::Message, publish::Row};

/// Bounds of a page, and what the last one taught.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    /// Most rows.
    pub(crate) rows: i64,
    /// Most bytes of messages; one message more may be.
    pub(crate) bytes: i64,
    /// Rows to ask for: with large bodies, a page ends long before the most.
    asked: i64,
}

impl PageLimit {
    pub(crate) const fn new(rows: i64, bytes: i64) -> Self {
        Self {
            rows,
            bytes,
            asked: rows,
        }
    }

    pub(super) const fn asked(self) -> i64 {
        self.asked
    }

    /// Largest body that is read together with its row: all that are asked for may be so large.
    pub(super) const fn largest(self) -> i64 {
        self.bytes / self.asked
    }

    /// Expects the next messages to be like these: asks for so few that bodies of twice the average come
    /// with their rows.
    pub(crate) fn learn(&mut self, page: &[Row<Message>]) {
        let bytes: usize = page.iter().map(|row| row.bytes).sum();
        if let Some(average) = (bytes as i64).checked_div(page.len() as i64) {
            self.asked = (self.bytes / (2 * average).max(1)).clamp(1, self.rows);
        }
    }

    /// Whether one of the bounds ended a page, so that more may follow.
    pub(crate) fn is_reached_by<'a>(self, rows: impl Iterator<Item = &'a Row<Message>>) -> bool {
        let (count, bytes) = rows.fold((0, 0), |(count, bytes), row| {
            (count + 1, bytes + row.bytes as i64)
        });
        count >= self.rows || bytes >= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::PageLimit;
    use crate::{
        message::{Message, tests::message},
        publish::{Disposition, Row},
    };

    fn row(bytes: usize) -> Row<Message> {
        Row {
            position: 1,
            key: None,
            topic: "t".into(),
            bytes,
            disposition: Disposition::Due,
            message: message(bytes),
        }
    }

    #[test]
    fn large_bodies_are_asked_for_few_at_a_time_and_small_ones_as_many_as_may_be() {
        let mut limit = PageLimit::new(1_000, 4_000_000);
        assert_eq!((limit.asked(), limit.largest()), (1_000, 4_000));
        limit.learn(&[row(5_000), row(5_000)]);
        assert_eq!((limit.asked(), limit.largest()), (400, 10_000));
        limit.learn(&[row(1_000_000)]);
        assert_eq!((limit.asked(), limit.largest()), (2, 2_000_000));
        limit.learn(&[row(50_000_000)]);
        assert_eq!((limit.asked(), limit.largest()), (1, 4_000_000));
        limit.learn(&[]);
        assert_eq!(limit.asked(), 1);
        limit.learn(&[row(0)]);
        assert_eq!(limit.asked(), 1_000);
    }
}
