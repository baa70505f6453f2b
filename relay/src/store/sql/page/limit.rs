//! Size limits of a page, and the number of rows to request within them.

use relay_core::publish::Row;

/// Size limits of a page, and the number of rows to request, estimated from the last page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    /// Largest number of rows.
    pub(crate) rows: i64,
    /// Largest size of all messages in bytes; the last message may exceed it.
    pub(crate) bytes: i64,
    /// Number of rows to request: fewer than `rows` if bodies are large.
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

    /// Largest body that is read together with its row, in bytes. The requested rows with bodies of this size fill
    /// the page.
    pub(super) const fn largest(self) -> i64 {
        self.bytes / self.asked
    }

    /// Sets the number of rows to request from a page's average size, so that bodies of up to twice the average are
    /// read together with their rows.
    pub(crate) fn learn<M>(&mut self, page: &[Row<M>]) {
        let bytes: usize = page.iter().map(|row| row.bytes).sum();
        if let Some(average) = (bytes as i64).checked_div(page.len() as i64) {
            self.asked = (self.bytes / (2 * average).max(1)).clamp(1, self.rows);
        }
    }

    /// Returns `true` if a page reached one of the limits, so that more rows may follow.
    pub(crate) fn is_reached_by<'a, M: 'a>(self, rows: impl Iterator<Item = &'a Row<M>>) -> bool {
        let (count, bytes) = rows.fold((0, 0), |(count, bytes), row| {
            (count + 1, bytes + row.bytes as i64)
        });
        count >= self.rows || bytes >= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::PageLimit;
    use relay_core::publish::{Disposition, Row};

    fn row(bytes: usize) -> Row<()> {
        Row {
            position: 1,
            key: None,
            topic: "t".into(),
            bytes,
            disposition: Disposition::Due,
            message: (),
        }
    }

    #[test]
    fn a_page_requests_fewer_rows_if_bodies_are_large() {
        let mut limit = PageLimit::new(1_000, 4_000_000);
        assert_eq!((limit.asked(), limit.largest()), (1_000, 4_000));
        limit.learn(&[row(5_000), row(5_000)]);
        assert_eq!((limit.asked(), limit.largest()), (400, 10_000));
        limit.learn(&[row(1_000_000)]);
        assert_eq!((limit.asked(), limit.largest()), (2, 2_000_000));
        limit.learn(&[row(50_000_000)]);
        assert_eq!((limit.asked(), limit.largest()), (1, 4_000_000));
        limit.learn::<()>(&[]);
        assert_eq!(limit.asked(), 1);
        limit.learn(&[row(0)]);
        assert_eq!(limit.asked(), 1_000);
    }
}
