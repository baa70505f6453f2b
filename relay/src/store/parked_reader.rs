//! Task that reads parked rows.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use relay_core::{
    capture::Position,
    publish::KeyRequest,
    session::parked_reader::{Command, Event},
};
use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    events,
    store::{
        DatabaseError, StoredMessage, answer,
        page::PageLimit,
        parked::read::{self, DueRow},
        server,
    },
};

/// Most due rows in the answer to a poll.
const DUE_ROWS: usize = 500;

/// Rows that became due longer ago than this count as seen: changes that make a row due mostly
/// commit within this time.
const COMMIT_LAG: Duration = Duration::from_mins(1);

/// Interval between polls that read all due rows again: a commit may have taken longer, or the
/// database's clock may have gone back.
const FULL_POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Shortest interval between counts of all parked rows. Counting takes at most a hundredth of the
/// time.
const COUNT_INTERVAL: Duration = Duration::from_secs(30);
const COUNT_SHARE: u32 = 100;

/// Most queries for one poll. A key with many due rows may fill the first.
const MAX_QUERIES: usize = 8;

/// Reads `outbox.parked`.
#[derive(Debug)]
pub(crate) struct ParkedReader {
    connection: PgConnection,
    lane: i16,
    limit: PageLimit,
    /// Longest wait for an answer.
    answer_timeout: Duration,
    /// Database clock and local clock when all due rows were last read.
    began: (DateTime<Utc>, Instant),
    /// Rows due before this time have been seen since then; `None` if there is no such time.
    seen: Option<DateTime<Utc>>,
    /// Time of the next count.
    count_at: Instant,
}

impl ParkedReader {
    pub(crate) async fn new(
        mut connection: PgConnection,
        lane: i16,
        limit: PageLimit,
        answer_timeout: Duration,
    ) -> Result<Self, DatabaseError> {
        let began = (server::now(&mut connection).await?, Instant::now());
        let limit = PageLimit::new(limit.rows.min(500), limit.bytes / 2);
        Ok(Self {
            connection,
            lane,
            limit,
            answer_timeout,
            began,
            seen: None,
            count_at: Instant::now(),
        })
    }

    /// Runs until the commands end or reading fails.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Result<Event<StoredMessage>, DatabaseError>>,
    ) {
        loop {
            let done = tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    let executed = answer::within(self.answer_timeout, self.execute(command)).await;
                    executed.map(Some)
                }
                () = sleep_until(self.count_at) => {
                    let counted = answer::within(self.answer_timeout, self.count()).await;
                    counted.map(|()| None)
                }
            };
            let lost = done.is_err();
            if let Some(event) = done.transpose()
                && (events.send(event).await.is_err() || lost)
            {
                return;
            }
        }
    }

    /// Reports the number of parked rows, if they can be counted in time.
    async fn count(&mut self) -> Result<(), DatabaseError> {
        let began = Instant::now();
        let counted = read::count(&mut self.connection, self.lane).await?;
        if let Some(counts) = counted {
            events::Parked { counts }.emit();
        }
        let wait = COUNT_INTERVAL.max(began.elapsed() * COUNT_SHARE);
        self.count_at = Instant::now() + wait;
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Result<Event<StoredMessage>, DatabaseError> {
        match command {
            Command::Poll { in_progress } => self.poll(&in_progress).await,
            Command::ReadKey(request) => self.read_key(request).await,
        }
    }

    async fn poll(
        &mut self,
        in_progress: &HashSet<Position>,
    ) -> Result<Event<StoredMessage>, DatabaseError> {
        if self.began.1.elapsed() >= FULL_POLL_INTERVAL {
            self.began = (server::now(&mut self.connection).await?, Instant::now());
            self.seen = None;
        }
        let now = self.began.0 + self.began.1.elapsed();
        // Rows in progress remain due in the table: they must not hide the others.
        let max = (DUE_ROWS + in_progress.len()) as i64;
        let mut found = Found::default();
        let mut all = false;
        for _ in 0..MAX_QUERIES {
            let (connection, keys) = (&mut self.connection, found.keys.as_slice());
            let due = read::due(connection, self.lane, self.seen, keys, max).await?;
            let few = (due.len() as i64) < max;
            all = found.add(due, in_progress) && few;
            if few || found.len() >= DUE_ROWS {
                break;
            }
        }
        let Found { keys, positions } = found;
        let singles = if positions.is_empty() {
            Vec::new()
        } else {
            read::by_position(&mut self.connection, &positions, self.limit.bytes).await?
        };
        // A page that was cut short by its bytes leaves rows for the next poll.
        all &= singles.len() == positions.len();
        if all {
            self.seen = self.seen.max(Some(now - COMMIT_LAG));
        }
        let more = !all;
        Ok(Event::Due {
            keys,
            singles,
            more,
        })
    }

    async fn read_key(
        &mut self,
        request: KeyRequest,
    ) -> Result<Event<StoredMessage>, DatabaseError> {
        let (connection, limit) = (&mut self.connection, self.limit);
        let (rows, more) = read::by_key(connection, self.lane, &request, limit).await?;
        Ok(Event::KeyRows {
            request,
            rows,
            more,
        })
    }
}

/// Rows to fetch: keys, each once, and rows that hold nothing.
#[derive(Debug, Default)]
struct Found {
    keys: Vec<Arc<str>>,
    positions: Vec<Position>,
}

impl Found {
    fn len(&self) -> usize {
        self.keys.len() + self.positions.len()
    }

    /// Adds due rows that are not in progress, up to a page in total. Returns `true` if all were
    /// added.
    fn add(&mut self, due: Vec<DueRow>, in_progress: &HashSet<Position>) -> bool {
        let mut known: HashSet<Arc<str>> = self.keys.iter().cloned().collect();
        for row in due {
            if self.len() == DUE_ROWS {
                return false;
            }
            match row {
                DueRow::Key(position, _) | DueRow::Single(position)
                    if in_progress.contains(&position) => {}
                DueRow::Single(position) => self.positions.push(position),
                DueRow::Key(_, key) => {
                    if known.insert(Arc::clone(&key)) {
                        self.keys.push(key);
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{DUE_ROWS, Found};
    use crate::store::parked::read::DueRow;

    #[test]
    fn rows_in_progress_do_not_hide_later_due_rows() {
        let page = DUE_ROWS as i64;
        let in_progress: HashSet<_> = (0..page).collect();
        let due = |last| (0..last).map(DueRow::Single).collect();
        let mut found = Found::default();
        assert!(found.add(due(page + 3), &in_progress));
        assert_eq!(found.positions, (page..page + 3).collect::<Vec<_>>());
        let mut found = Found::default();
        assert!(!found.add(due(2 * page + 1), &in_progress));
        assert_eq!(found.len(), DUE_ROWS);
    }

    #[test]
    fn a_key_is_found_once_however_many_of_its_rows_are_due() {
        let mut found = Found::default();
        let rows = |key: &str| {
            let rows = 0..DUE_ROWS as i64;
            rows.map(|row| DueRow::Key(row, key.into())).collect()
        };
        assert!(found.add(rows("a"), &HashSet::new()));
        assert!(found.add(rows("b"), &HashSet::new()));
        assert!(found.add(rows("a"), &HashSet::new()));
        assert_eq!(found.keys, ["a".into(), "b".into()]);
    }
}
