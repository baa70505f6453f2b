//! Snapshots: the transactions that are visible at one moment.

use std::{fmt, str::FromStr};

/// A snapshot, as `pg_current_snapshot()` returns it (PostgreSQL documentation, section 9.27.8,
/// "Transaction ID and Snapshot Information Functions").
///
/// Transactions below `xmin` had finished when the snapshot was taken; transactions from `xmax` on
/// had not, nor had the ones in `running`.
///
/// *`xmax` is not the next transaction id*: it is one past the highest that had finished. A running
/// transaction may own an id from `xmax` on, and rows with positions already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

/// Error for a text that is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pg_snapshot; expected xmin:xmax:xip,… with xmin <= xip < xmax")]
pub struct InvalidSnapshot(String);

impl Snapshot {
    /// Returns the snapshot before every transaction: nothing is visible in it.
    pub const fn beginning() -> Self {
        Self {
            xmin: 1,
            xmax: 1,
            running: Vec::new(),
        }
    }

    /// Returns a snapshot in which exactly the transactions below `xid` have finished.
    pub const fn before(xid: u64) -> Self {
        Self {
            xmin: xid,
            xmax: xid,
            running: Vec::new(),
        }
    }

    /// Lowest transaction id that was still running, or `xmax` if none was.
    pub const fn xmin(&self) -> u64 {
        self.xmin
    }

    /// One past the highest transaction id that had finished.
    pub const fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Transactions between `xmin` and `xmax` that were still running, in ascending order.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// Returns `true` if the effects of a transaction are visible, provided that it committed.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Returns `true` if `later` sees any transaction that this snapshot does not.
    pub fn misses_any_of(&self, later: &Self) -> bool {
        let above = later.xmax.saturating_sub(self.xmax);
        let still_running = later
            .running
            .iter()
            .filter(|&&xid| xid >= self.xmax)
            .count() as u64;
        above > still_running || self.running.iter().any(|&xid| later.sees(xid))
    }
}

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSnapshot(text.to_owned());
        let number = |text: &str| text.parse::<u64>().map_err(|_| invalid());
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().ok_or_else(invalid);
        let (xmin, xmax, list) = (number(next()?)?, number(next()?)?, next()?);
        let running = match list {
            "" => Vec::new(),
            list => list.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
        };
        let ordered = running.windows(2).all(|pair| pair[0] < pair[1]);
        let bounded = running.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin == 0 || xmin > xmax || !ordered || !bounded {
            return Err(invalid());
        }
        Ok(Self {
            xmin,
            xmax,
            running,
        })
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.running.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{xid}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Snapshot;

    fn snapshot() -> impl Strategy<Value = Snapshot> {
        (1_u64..40, 0_u64..40, any::<u64>()).prop_map(|(xmin, span, bits)| {
            let xmax = xmin + span;
            let running: Vec<u64> = (xmin..xmax)
                .filter(|xid| bits >> (xid % 64) & 1 == 1)
                .collect();
            let xmin = running.first().copied().unwrap_or(xmax);
            Snapshot {
                xmin,
                xmax,
                running,
            }
        })
    }

    /// Generates a snapshot and a later one, which sees all that the first sees.
    fn earlier_and_later() -> impl Strategy<Value = (Snapshot, Snapshot)> {
        (snapshot(), 0_u64..40, any::<u64>()).prop_map(|(earlier, further, bits)| {
            let xmax = earlier.xmax + further;
            let had_not_finished = earlier.running.iter().copied().chain(earlier.xmax..xmax);
            let running: Vec<u64> = had_not_finished
                .filter(|xid| bits >> (xid % 64) & 1 == 1)
                .collect();
            let later = Snapshot {
                xmin: running.first().copied().unwrap_or(xmax),
                xmax,
                running,
            };
            (earlier, later)
        })
    }

    proptest! {
        #[test]
        fn text_round_trips(snapshot in snapshot()) {
            prop_assert_eq!(snapshot.to_string().parse::<Snapshot>().unwrap(), snapshot);
        }

        #[test]
        fn misses_any_of_is_what_sees_says((old, new) in earlier_and_later()) {
            prop_assert!((0..150).all(|xid| !old.sees(xid) || new.sees(xid)));
            let fresh: BTreeSet<u64> =
                (0..150).filter(|&xid| new.sees(xid) && !old.sees(xid)).collect();
            prop_assert_eq!(old.misses_any_of(&new), !fresh.is_empty());
            let captured: BTreeSet<u64> = (old.xmax()..150)
                .filter(|&xid| new.sees(xid))
                .chain(old.running().iter().copied().filter(|&xid| new.sees(xid)))
                .collect();
            prop_assert_eq!(captured, fresh);
        }
    }

    #[test]
    fn invalid_text_is_refused() {
        for text in [
            "", "1", "1:2", "2:1:", "0:1:", "1:5:4,3", "1:5:5", "a:b:c", "1:2:,",
        ] {
            assert!(text.parse::<Snapshot>().is_err(), "{text:?}");
        }
    }
}
